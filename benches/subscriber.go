// Counts coturn's events with redigo and client_golang, as one would begin to. Arguments: host, port, events.
package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/gomodule/redigo/redis"
	"github.com/prometheus/client_golang/prometheus"
)

// KiB in memory now. The most there ever was, as rusage has it, begins with what the parent had when it forked.
func resident() int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	kib, err := strconv.Atoi(regexp.MustCompile(`VmRSS:\s+(\d+)`).FindStringSubmatch(string(status))[1])
	if err != nil {
		panic(err)
	}
	return kib
}

func main() {
	wanted, _ := strconv.Atoi(os.Args[3])
	bytes := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "relayed_bytes"}, []string{"realm", "leg", "direction"})
	statuses := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "statuses"}, []string{"realm", "word"})
	prometheus.MustRegister(bytes, statuses)
	channels := regexp.MustCompile(`^turn/realm/([^/]*)/user/.*/allocation/\d+/(.*)$`)
	numbers := regexp.MustCompile(`^rcvp=\d+, rcvb=(\d+), sentp=\d+, sentb=(\d+)$`)

	connection, err := redis.Dial("tcp", os.Args[1]+":"+os.Args[2])
	if err != nil {
		panic(err)
	}
	subscription := redis.PubSubConn{Conn: connection}
	if err := subscription.PSubscribe("turn/*"); err != nil {
		panic(err)
	}
	heard := 0
	for heard < wanted {
		answer := subscription.Receive()
		if _, is := answer.(error); is {
			break
		}
		message, is := answer.(redis.Message)
		if !is {
			continue
		}
		heard++
		channel := channels.FindStringSubmatch(message.Channel)
		payload := string(message.Data)
		if channel[2] == "status" {
			statuses.WithLabelValues(channel[1], strings.SplitN(payload, " ", 2)[0]).Inc()
			continue
		}
		if strings.HasPrefix(channel[2], "total") {
			continue
		}
		leg := "client"
		if strings.HasSuffix(channel[2], "/peer") {
			leg = "peer"
		}
		found := numbers.FindStringSubmatch(payload)
		received, _ := strconv.ParseFloat(found[1], 64)
		sent, _ := strconv.ParseFloat(found[2], 64)
		bytes.WithLabelValues(channel[1], leg, "received").Add(received)
		bytes.WithLabelValues(channel[1], leg, "sent").Add(sent)
	}
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	seconds := float64(usage.Utime.Sec+usage.Stime.Sec) + float64(usage.Utime.Usec+usage.Stime.Usec)/1e6
	fmt.Println(heard, seconds, resident()*1024)
}
