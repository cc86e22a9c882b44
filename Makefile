# Everything a developer does here; `make` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

BIN := .venv/bin
STAMP := .venv/.stamp
POLICY_STAMP := .venv-policy/.stamp
AUDIT_STAMP := .venv-audit/.stamp
PACKAGES := services/common services/intake services/executor services/callback
# The first Python that is new enough; `make PYTHON=python3.13 ...` names another.
PYTHON ?= $(firstword $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p"; done))
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: .venv
.venv: $(STAMP) ## the virtual environment with all that development needs

$(STAMP): requirements/dev.txt $(PACKAGES:%=%/pyproject.toml)
	@[ -n "$(PYTHON)" ] || { echo "carom: Python 3.11 or newer is needed (make PYTHON=... names one)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "carom: $(PYTHON) is not a Python of 3.11 or newer" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "carom: $(PYTHON) cannot make virtual environments: install python3-venv" >&2; exit 1; }
	@[ -x $(BIN)/pip ] || { echo "creating .venv with $(PYTHON)"; "$(PYTHON)" -m venv .venv; }
	@echo "installing the dependencies (about a minute at first)"
	@$(BIN)/pip install --quiet --require-hashes -r requirements/dev.txt
	@echo "installing the services"
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation $(PACKAGES:%=-e ./%)
	@touch $@

.PHONY: run
run: $(STAMP) ## the whole of Carom on this machine until Ctrl-C: API on port 3000 (CAROM_PORT=... takes another)
	@[ -n "$${RABBITMQ_URL:-}" ] && [ -n "$${REDIS_URL:-}" ] || scripts/install-servers
	@PYTHONPATH=scripts exec $(BIN)/python -m devstack.run

.PHONY: demo
demo: $(STAMP) ## one job followed through two failures to its callback
	@[ -n "$${RABBITMQ_URL:-}" ] && [ -n "$${REDIS_URL:-}" ] || scripts/install-servers
	@PYTHONPATH=scripts exec $(BIN)/python -m devstack.demo

.PHONY: test
test: $(STAMP) ## the tests of the chart, with real servers, and of single units
	@scripts/install-servers --tests
	@scripts/test $(ARGS)

.PHONY: faults
faults: $(STAMP) ## the promises while processes and servers die under load, and whatever clients do
	@scripts/install-servers --tests
	@$(BIN)/pytest tests/faults tests/properties $(ARGS)

.PHONY: chaos
chaos: $(STAMP) ## break everything there is under load, for eighty minutes, and write the table of docs/reliability.md (ARGS=... are passed on)
	@scripts/install-servers --tests
	@PYTHONPATH=scripts exec $(BIN)/python -m tests.chaos --write $(ARGS)

.PHONY: chaos-short
chaos-short: $(STAMP) ## the same scenarios, some seconds of each
	@scripts/install-servers --tests
	@if [ -n "$(ARGS)" ]; then $(BIN)/pytest tests/chaos $(ARGS); else scripts/lanes \
		"other-stages: tests/chaos/test_other_stages.py" + "usual-stage: tests/chaos/test_usual_stage.py"; fi

.PHONY: soak
soak: $(STAMP) ## two hours of random faults at half of capacity, and nothing may leak (ARGS="--minutes 10")
	@scripts/install-servers --tests
	@PYTHONPATH=scripts exec $(BIN)/python -m tests.chaos.soak $(ARGS)

.PHONY: model
model: $(STAMP) ## search the job protocol's larger configurations, and show what each of its rules is for; many minutes
	@$(BIN)/python -m model

.PHONY: e2e
e2e: $(STAMP) ## the tests on a real Kubernetes (CLUSTER=shared, kind or current: see scripts/e2e)
	@scripts/e2e $(ARGS)

.PHONY: check
check: $(STAMP) ## lint, format, types, import contracts
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: policy
policy: $(STAMP) $(POLICY_STAMP) ## checkov over all that the chart renders
	@CHECKOV="$(CURDIR)/.venv-policy/bin/checkov" $(BIN)/pytest tests/chart/test_policy.py $(ARGS)

# An environment of its own: checkov's pins exclude ours.
$(POLICY_STAMP): requirements/policy.txt | $(STAMP)
	@[ -x .venv-policy/bin/pip ] || { echo "creating .venv-policy"; $(BIN)/python -m venv .venv-policy; }
	@echo "installing checkov (half a minute at first)"
	@.venv-policy/bin/pip install --quiet --require-hashes -r requirements/policy.txt
	@touch $@

.PHONY: audit
audit: $(STAMP) $(AUDIT_STAMP) ## known vulnerabilities (asks an advisory service), licences, the linter (with its security rules)
	@$(BIN)/ruff check
	@PYTHONPATH=scripts $(BIN)/python -m licences
	@scripts/audit

.PHONY: sbom
sbom: $(STAMP) $(AUDIT_STAMP) ## a bill of materials (CycloneDX) for each image, into build/sbom
	@scripts/sbom

$(AUDIT_STAMP): requirements/audit.txt | $(STAMP)
	@[ -x .venv-audit/bin/pip ] || { echo "creating .venv-audit"; $(BIN)/python -m venv .venv-audit; }
	@echo "installing pip-audit and cyclonedx-bom"
	@.venv-audit/bin/pip install --quiet --require-hashes -r requirements/audit.txt
	@touch $@

.PHONY: bench
bench: $(STAMP) ## throughput, cost and lateness on this machine (ARGS=... are passed on)
	@scripts/install-servers --tests
	@PYTHONPATH=scripts exec $(BIN)/python -m bench $(ARGS)

.PHONY: bench-guard
bench-guard: $(STAMP) ## whether a job costs more CPU than it used to, against a loop of the same kind of work
	@scripts/install-servers --tests
	@PYTHONPATH=scripts:. $(BIN)/python -m bench.guard $(ARGS)

.PHONY: fmt
fmt: $(STAMP) ## format, and mend what the linter can mend
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

.PHONY: docs
docs: $(STAMP) ## write the generated reference pages, the dashboards, and the chart's README and schema anew
	@PYTHONPATH=scripts $(BIN)/python -m reference
	@PYTHONPATH=scripts $(BIN)/python -m dashboards
	@PYTHONPATH=scripts $(BIN)/python -m chart_docs

.PHONY: requirements
requirements: ## recompile requirements/*.txt from *.in (needs uv; ARGS=--upgrade takes newer versions)
	@command -v uv >/dev/null || { echo "carom: uv is needed to recompile the requirements" >&2; exit 1; }
	@for name in dev runtime build; do \
		echo "compiling requirements/$$name.txt"; \
		[ $$name = dev ] && held= || held="--constraints requirements/dev.txt"; \
		$(COMPILE) $$held $(ARGS) requirements/$$name.in -o requirements/$$name.txt; \
	done
	@for name in policy audit; do \
		echo "compiling requirements/$$name.txt"; \
		$(COMPILE) $(ARGS) requirements/$$name.in -o requirements/$$name.txt; \
	done

.PHONY: kind-up
kind-up: ## a kind cluster with Carom in it, up to a first job (needs docker, kind, kubectl, helm)
	@scripts/kind-up

.PHONY: kind-down
kind-down: ## remove the cluster of kind-up
	@scripts/kind-down

.PHONY: clean
clean: ## remove the virtual environments, caches, and the data of make run
	@[ ! -e .run/lock ] || flock -n .run/lock true || { echo "carom: make run is up: stop it first" >&2; exit 1; }
	@rm -rf .venv .venv-policy .venv-audit build/sbom .run .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find services scripts tests bench -name __pycache__ -prune -exec rm -rf {} +
