// No program is built from it: the definition of PodMonitor, against which the chart is checked, is in its files.
module tradingbot/lab/prometheus-operator

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0
