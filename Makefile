# `make` explains itself. Everything runs inside .venv, which is made from the lock file on first use.
PYTHON ?= python3
BIN := .venv/bin
REPORTS ?= reports
JOBS ?= 4
ARGS ?=
EXAMPLES ?= 2000
REPORT_LANG := $(if $(filter es%,$(LANG)),es,en)
DEV_EXTRAS := dev cli notify s3
# On containers: what the engine is asked for. The containers' own negative controls are among it (but for the pristine
# case, which is what the suite itself runs); those of the other suites run on embedded servers.
DOCKER_TESTS ?= tests/test_compose_up.py $(wildcard tests/test_docker*.py)
DOCKER_SUITES ?= (dr or vault or demo or pitr or failover) and not negative or containers

# Runs start hundreds of Python processes: without bytecode each of them compiles all that it imports, which is most of
# its time. It is kept beside the packages, so that nothing is written between the sources.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX ?= $(CURDIR)/.venv/bytecode

.DEFAULT_GOAL := help
.PHONY: help dr test prove campaign lint report bench clean doctor otelcol observability-deps images test-docker

help: ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

dr: .venv/ready ## the disaster-recovery drill: back up, lose, restore, compare, time
	$(BIN)/pytest -m dr --reports $(REPORTS) $(ARGS)

# Cases drawn at random are the same ones in every `make test`: whether a change is sound is no matter of luck. `make prove`
# and `make campaign` draw others each time, and print their seed; `make prove SEED=1` is what every change is held to.
test: .venv/ready-dev .venv/ready-observability ## everything that can run here but `make prove`, the harness' own tests included
	$(BIN)/pytest tests suites -m "not negative" -n $(JOBS) --dist worksteal --hypothesis-seed=$(or $(SEED),1) --reports $(REPORTS) $(ARGS)

test-docker: .venv/ready-dev .venv/ready-docker .venv/ready-observability ## the suites and the users' stacks on containers; builds the images
	@mkdir -p $(REPORTS)/docker && rm -f $(REPORTS)/docker/not-proven.txt
	@$(MAKE) --no-print-directory images || \
	  echo "NOT PROVEN in this run: the stacks whose images could not be built (make images says which)" | tee $(REPORTS)/docker/not-proven.txt
	$(BIN)/pytest $(DOCKER_TESTS) -n 2 --reports $(REPORTS)/docker $(ARGS)
	$(BIN)/pytest suites -m "$(DOCKER_SUITES)" -k "not pristine" --provision docker -n 2 --dist worksteal --reports $(REPORTS)/docker $(ARGS)

images: .venv/ready-docker .venv/ready-observability ## build the stacks' container images without a registry (Debian, root)
	$(BIN)/python -m smos.provision.images --env compose/images/built.env --record compose/images/built.json $(IMAGES)

prove: .venv/ready-dev .venv/ready-observability ## every check is seen to fail: the fault matrix
	$(BIN)/pytest -m negative -n $(JOBS) --dist worksteal $(if $(SEED),--hypothesis-seed=$(SEED)) --reports $(REPORTS) $(ARGS)

campaign: .venv/ready-dev ## damage backups at random, for longer: make campaign EXAMPLES=2000 [SEED=7]
	$(BIN)/pytest -m negative suites/dr/negative/test_campaign.py -n $(JOBS) --dist worksteal --timeout=0 --reports $(REPORTS) \
	  --campaign-examples=$(EXAMPLES) $(if $(SEED),--hypothesis-seed=$(SEED)) $(ARGS)

lint: .venv/ready-dev ## ruff and strict types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/zizmor --offline --quiet .github
	$(BIN)/hadolint compose/images/*/Dockerfile
	@if command -v go >/dev/null; then $(MAKE) --silent $(BIN)/actionlint && $(BIN)/actionlint; \
	else echo "Go is not here: actionlint did not look at the workflows"; fi

otelcol: .venv/ready ## build the OpenTelemetry Collector from its manifest (needs Go; some five minutes, once)
	$(BIN)/python -m smos.provision.embedded.observability_deps collector

observability-deps: .venv/ready-dev .venv/ready-observability ## what the observability suite runs with; says what can't be had
	$(BIN)/python -m smos.provision.embedded.observability_deps

report: .venv/ready ## reports as HTML: evidence.html, and Allure's where Node.js is (make report LANG=es: in Spanish)
	@if [ -f $(REPORTS)/run.json ]; then $(BIN)/smos evidence page $(REPORTS) --lang $(REPORT_LANG); fi
	@if command -v npm >/dev/null && command -v node >/dev/null; then \
	  $(MAKE) --no-print-directory tools/report/node_modules/.ready && node tools/report/render.mjs $(REPORTS) $(REPORT_LANG); \
	else echo "Node.js is not here: evidence.html and summary.md tell the story. Where it is, render the Allure results with: npm ci --prefix tools/report && node tools/report/render.mjs $(REPORTS)"; fi

tools/report/node_modules/.ready: tools/report/package-lock.json
	npm ci --prefix tools/report --ignore-scripts --no-audit --no-fund --silent
	@touch $@

bench: .venv/ready-dev ## measurements against peers, in the same run
	$(BIN)/python -m bench

doctor: .venv/ready ## what is here, what is missing, what each suite could prove
	@$(BIN)/smos doctor

clean: ## remove what runs leave; the virtual environment, the history and signed evidence stay
	rm -rf $(REPORTS)/allure $(REPORTS)/allure-results .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f $(REPORTS)/verdict.json $(REPORTS)/rto.json $(REPORTS)/rto.prom $(REPORTS)/summary.md \
	  $(REPORTS)/run.json $(REPORTS)/evidence.html $(REPORTS)/junit.xml $(REPORTS)/findings.sarif $(REPORTS)/oscal-*.json \
	  $(REPORTS)/allure.html

.venv/uv: requirements-bootstrap.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; say which one with: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "The venv module is missing (Debian: apt install python3-venv)" >&2; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bootstrap.txt
	@touch $@

.venv/ready: .venv/uv uv.lock pyproject.toml
	$(BIN)/uv sync --quiet --frozen --inexact --python $(BIN)/python
	@touch $@

# What a runner of drills needs: Slack, and backups and evidence in S3.
.venv/ready-drill: .venv/uv uv.lock pyproject.toml
	$(BIN)/uv sync --quiet --frozen --inexact --extra notify --extra s3 --python $(BIN)/python
	@touch $@ .venv/ready

.venv/ready-dev: .venv/uv uv.lock pyproject.toml
	$(BIN)/uv sync --quiet --frozen --inexact $(DEV_EXTRAS:%=--extra %) --python $(BIN)/python
	@touch $@ .venv/ready .venv/ready-drill

.venv/ready-docker: .venv/uv uv.lock pyproject.toml
	$(BIN)/uv sync --quiet --frozen --inexact --extra docker --python $(BIN)/python
	@touch $@ .venv/ready

$(BIN)/actionlint: .venv/uv
	GOBIN=$(CURDIR)/$(BIN) go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

# Not touched where a part can't be had (no Go): it is tried again, and the tests that need it fail and say so.
.venv/ready-observability: .venv/uv uv.lock pyproject.toml compose/observability/builder.yml
	$(BIN)/uv sync --quiet --frozen --inexact --extra observability --python $(BIN)/python
	@if $(BIN)/python -m smos.provision.embedded.observability_deps; then touch $@ .venv/ready; fi
