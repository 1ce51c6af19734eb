from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from people import views

urlpatterns = [
    path("", views.home, name="home"),
    path("profile/new/", views.NewProfileView.as_view(), name="profile_new"),
    path("profile/<int:pk>/", views.profile, name="profile"),
    path("login/", LoginView.as_view(template_name="people/login.html"), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("-/live/", views.live, name="live"),
    path("-/ready/", views.ready, name="ready"),
]
