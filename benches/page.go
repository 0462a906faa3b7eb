// Serves the families of a page with client_golang, as one would: vectors with labels, and promhttp. Reads the page in
// text from standard input, prints its address.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func labels(metric *dto.Metric) (names, values []string) {
	for _, pair := range metric.Label {
		names, values = append(names, pair.GetName()), append(values, pair.GetValue())
	}
	return
}

// Observations that make equal classic buckets; the sums differ, which costs nothing.
func observe(histogram prometheus.Observer, from *dto.Histogram) {
	below, bound := uint64(0), 0.0
	for _, bucket := range from.Bucket {
		bound = bucket.GetUpperBound()
		for ; below < bucket.GetCumulativeCount(); below++ {
			histogram.Observe(bound)
		}
	}
}

func register(registry *prometheus.Registry, family *dto.MetricFamily) {
	names, _ := labels(family.Metric[0])
	switch family.GetType() {
	case dto.MetricType_COUNTER:
		vector := prometheus.NewCounterVec(prometheus.CounterOpts{Name: family.GetName(), Help: family.GetHelp()}, names)
		for _, metric := range family.Metric {
			_, values := labels(metric)
			vector.WithLabelValues(values...).Add(metric.Counter.GetValue())
		}
		registry.MustRegister(vector)
	case dto.MetricType_GAUGE:
		vector := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: family.GetName(), Help: family.GetHelp()}, names)
		for _, metric := range family.Metric {
			_, values := labels(metric)
			vector.WithLabelValues(values...).Set(metric.Gauge.GetValue())
		}
		registry.MustRegister(vector)
	case dto.MetricType_HISTOGRAM:
		options := prometheus.HistogramOpts{Name: family.GetName(), Help: family.GetHelp()}
		for _, bucket := range family.Metric[0].Histogram.Bucket {
			options.Buckets = append(options.Buckets, bucket.GetUpperBound())
		}
		// The growth nearest to 2^(1/8), which is ours.
		options.NativeHistogramBucketFactor = 1.1
		vector := prometheus.NewHistogramVec(options, names)
		for _, metric := range family.Metric {
			_, values := labels(metric)
			observe(vector.WithLabelValues(values...), metric.Histogram)
		}
		registry.MustRegister(vector)
	default:
		panic(family.GetType())
	}
}

func main() {
	var parser expfmt.TextParser
	families, err := parser.TextToMetricFamilies(os.Stdin)
	must(err)
	registry := prometheus.NewRegistry()
	for _, family := range families {
		register(registry, family)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	fmt.Println(listener.Addr())
	must(http.Serve(listener, promhttp.HandlerFor(registry, promhttp.HandlerOpts{})))
}
