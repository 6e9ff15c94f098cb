# What one does with Holdfast, each in one command. Missing system packages are installed by scripts/setup (Debian, Ubuntu).

# Where rustup puts cargo, for a shell that was opened before Rust was installed.
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: help run demo test torture fuzz lint bench manifests image

help: ## show this list
	@sed -n 's/^\([a-z]*\):.* ## /\1\t/p' Makefile | expand -t 12

run: ## agent and collector on this host, dashboard on loopback; Ctrl-C stops both
	@scripts/setup build
	@scripts/run

demo: ## the same with four recorded Kubernetes nodes beside this host
	@scripts/setup build
	@scripts/run --demo

test: ## every test, with a real browser, Prometheus and Alertmanager
	@scripts/setup test
	cargo test --workspace --locked --no-fail-fast

torture: ## thousands of simulated networks and random histories, hundreds of kills: hours
	@scripts/setup build
	HOLDFAST_SEEDS=5000 cargo test --release --locked -p holdfast-tests --test simulated -- --nocapture
	HOLDFAST_MODEL_CASES=100000 cargo test --release --locked -p holdfast-tests --test model -- --nocapture
	HOLDFAST_KILL_ROUNDS=200 cargo test --locked -p holdfast-tests --test e2e kill -- --nocapture

fuzz: ## random bytes for everything that reads what others wrote, SECONDS=60 each; fetches cargo-fuzz and a nightly compiler if you lack them
	@scripts/setup build
	@scripts/fuzz $(or $(SECONDS),60) $(TARGET)

lint: ## formatting and clippy, as CI wants it
	@scripts/setup build
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

bench: ## print scan cost, memory, idle CPU, time from change to durable, delivery and connections of a thousand agents, and what importing feeds takes
	@scripts/setup build
	cargo bench --locked -p holdfast-tests
	cargo test --release --locked -p holdfast-agent --lib cost_of_a_pass -- --ignored --nocapture

manifests: ## check deploy/ against the schemas of Kubernetes
	@scripts/setup manifests
	@scripts/manifests

image: ## container images holdfast-agent and holdfast-collector, with buildah
	@scripts/setup image
	@scripts/image
