from django.contrib import admin

from people.models import Company, JobTitle, Profile


@admin.register(Company, JobTitle)
class NamedModelAdmin(admin.ModelAdmin):
    search_fields = ["name"]


@admin.register(Profile)
class ProfileAdmin(admin.ModelAdmin):
    autocomplete_fields = ["company", "job_title"]
    list_display = ["name", "email", "job_title", "company", "created"]
    list_select_related = ["company", "job_title"]
    list_per_page = 50
    ordering = ["-created", "-id"]
    readonly_fields = ["created", "created_by"]
    search_fields = ["^name", "^email"]
    show_full_result_count = False  # it counts the whole table on every page
