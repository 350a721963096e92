# Everything is built, tested and run from here. A machine with Go and make is
# enough; what the tests need besides is installed by test/setup.sh (Debian, root).

GO          ?= go
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 1m
TESTFUZZ    ?= 3s
BENCHTIME   ?= 1s
BENCHFLAGS  ?=
TESTFLAGS   ?=

.DEFAULT_GOAL := build
.PHONY: run build test testenv lint bench fuzz clean

run: build ## start a bridge with two simulated CPE
	bin/uspbridge serve --demo

build: ## build bin/uspbridge
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/uspbridge ./cmd/uspbridge

testenv:
	test/setup.sh

# Packages are tested two at a time: several of them start servers of their own.
test: testenv ## run all tests with the race detector, and every fuzz target for seconds
	CGO_ENABLED=1 $(GO) test -race -p 2 -timeout 15m $(TESTFLAGS) ./...
	GO='$(GO)' FUZZTIME='$(TESTFUZZ)' test/fuzz.sh

lint: ## check format and what go vet and staticcheck find
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted; run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

bench: ## measure a whole bridge, then each package, and print a table of each
	@$(GO) run ./test/bench $(BENCHFLAGS)
	@mkdir -p bin
	@$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) -p 1 -timeout 60m ./... > bin/.bench.out || { cat bin/.bench.out; exit 1; }
	@awk -f test/bench.awk bin/.bench.out

fuzz: ## fuzz every target for FUZZTIME
	GO='$(GO)' FUZZTIME='$(FUZZTIME)' test/fuzz.sh

clean: ## remove what was built
	rm -rf bin
