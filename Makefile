SHELL := /bin/bash
INVENTORY ?= inventories/lab
PROFILES ?= 20000
BIN := .venv/bin
# Debian's own where it will do: it is compiled with optimizations, which those of pyenv and the like mostly are not.
PYTHON ?= $(shell /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
    && echo /usr/bin/python3 || echo python3)
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
# State of Ansible and Molecule belongs to this checkout: two checkouts never share it.
export ANSIBLE_HOME := $(CURDIR)/.ansible
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Another virtual environment may be active: uv would install into that.
export VIRTUAL_ENV := $(CURDIR)/.venv

.PHONY: help cluster url manage shell logs visitors ladder drills down test lint lock venv packages
help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

cluster: venv packages ## Boot the lab's hosts and converge them to the full cluster
	@python -m lab -i $(INVENTORY) up
	@ansible-playbook -i $(INVENTORY) site.yml
	@ansible-playbook -i $(INVENTORY) playbooks/seed.yml -e profiles=$(PROFILES)
	@printf '\nThe site answers at\n'; python -m lab -i $(INVENTORY) url
	@printf '\nTry next:\n'
	@printf '  %s\n' 'curl -kI $$(make -s url)        a hit on the second request: see Cache-Status' \
	    '. .venv/bin/activate            puts ansible-playbook on the PATH; then' \
	    'ansible-playbook site.yml       the same again: changed=0' \
	    'make test                       all tests' \
	    'make down                       take the lab down'

url: venv ## Print where the site answers
	@python -m lab -i $(INVENTORY) url

manage: venv ## Run manage.py with ARGS on the first web host
	@ansible-playbook -i $(INVENTORY) playbooks/manage.yml

shell: venv ## A Python shell of the application, or another command of manage.py that asks: ARGS=createsuperuser
	@python tools/remote.py -i $(INVENTORY) shell 'web[0]' -- $(or $(ARGS),shell)

logs: venv ## Follow the logs of all hosts, or of GROUP, until Ctrl-C; ARGS are journalctl's
	@python tools/remote.py -i $(INVENTORY) logs '$(or $(GROUP),all)' -- $(ARGS)

visitors: venv .venv/.loadtest ## Visitors who come until Ctrl-C, for 90 minutes at most, and what they meet with
	@python -m loadtest visitors -i $(INVENTORY) $(ARGS)

ladder: more = nghttp2-client
ladder: INVENTORY := $(if $(filter file,$(origin INVENTORY)),inventories/ladder,$(INVENTORY))
ladder: venv .venv/.loadtest packages ## Put every rung under the talk's load: reports/ladder.html
	@if [ $(INVENTORY) = inventories/ladder ]; then python -m lab -i $(INVENTORY) up; fi
	@python -m loadtest ladder -i $(INVENTORY) $(ARGS)

drills: INVENTORY := $(if $(filter file,$(origin INVENTORY)),inventories/ha,$(INVENTORY))
drills: venv .venv/.loadtest packages ## Break one thing after the other under load, heal it, count: reports/drills.html
	@python -m lab -i $(INVENTORY) up
	@ansible-playbook -i $(INVENTORY) site.yml
	@python -m loadtest drills -i $(INVENTORY) $(ARGS)

down: venv ## Take the lab down; nothing is left
	@python -m lab -i $(INVENTORY) down

test: more = vagrant nghttp2-client
test: venv .venv/.loadtest packages ## All set-up, then all tests
	@./tests/run

lint: venv ## The linters alone
	@pytest -q tests/test_lint.py

lock: venv ## Lock the tools' versions anew
	@for directory in . loadtest; do \
	    (cd $$directory && uv pip compile --quiet --universal --python-version 3.11 --upgrade --no-header \
	        --no-emit-index-url requirements.in -o requirements.txt) || exit; \
	done

venv: .venv/.complete
.venv/.complete: requirements.txt
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -qq --yes python3-venv; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check "$$(grep ^uv== requirements.txt)"
	@$(BIN)/uv pip install --quiet -r requirements.txt
# Without bytecode every Ansible process compiles itself anew; the collections' modules never run here.
	@$(BIN)/python -m compileall -q -j0 -x 'ansible_collections/(?!ansible)' .venv/lib || true
	@touch $@

.venv/.loadtest: .venv/.complete loadtest/requirements.txt
	@$(BIN)/uv pip install --quiet --compile-bytecode -r loadtest/requirements.txt
	@touch $@

# The lab's own Debian packages, and `more`; nothing is asked of apt when all are there.
packages: venv
	@missing=$$(for package in $(more) $$(python -m lab requirements); do \
	    dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || echo $$package; done); \
	if [ -n "$$missing" ]; then \
	    $(SUDO) apt-get update -qq && \
	    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends $$missing; \
	fi
