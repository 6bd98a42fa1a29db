// No program is built from it: the definitions against which the examples for Flux are checked are in their files.
module tradingbot/lab/flux

go 1.26.0

require (
	github.com/fluxcd/kustomize-controller v1.7.3
	github.com/fluxcd/source-controller v1.7.3
)
