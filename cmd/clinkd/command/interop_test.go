//go:build interop

package command_test

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestInteropMosquitto sends messages both ways over a link with Debian's
// mosquitto clients, in every protocol version and QoS.
func TestInteropMosquitto(t *testing.T) {
	for _, tool := range []string{"mosquitto_pub", "mosquitto_sub"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v: install Debian's mosquitto-clients", err)
		}
	}
	d := startExample(t, "two-sites")
	n := 0 // a topic for each case: one published too often must not reach the next
	for _, version := range []string{"311", "5"} {
		for qos := range 3 {
			for _, way := range [][2]string{{"site-a", "site-b"}, {"site-b", "site-a"}} {
				for _, filter := range []string{"global/%d/#", "$share/g/global/%d/+"} {
					n++
					topic, filter := fmt.Sprintf("global/%d/x", n), fmt.Sprintf(filter, n)
					t.Run(fmt.Sprintf("v%s qos%d %s-%s %s", version, qos, way[0], way[1], filter), func(t *testing.T) {
						crosses(t, d.port(way[0]), d.port(way[1]), version, qos, topic, filter)
					})
				}
			}
		}
	}
}

func crosses(t *testing.T, from, to, version string, qos int, topic, filter string) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	q := fmt.Sprint(qos)
	sub := exec.CommandContext(ctx, "mosquitto_sub", "-p", to, "-V", version, "-q", q, "-t", filter, "-C", "1", "-F", "%t %q %p %P")
	var got, sayings bytes.Buffer
	sub.Stdout, sub.Stderr = &got, &sayings
	if err := sub.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- sub.Wait() }()
	args := []string{"-p", from, "-V", version, "-q", q, "-t", topic, "-m", "hello"}
	if version == "5" {
		args = append(args, "-D", "publish", "user-property", "k", "v")
	}
	for { // until the subscription has been announced and one message is through
		if out, err := exec.CommandContext(ctx, "mosquitto_pub", args...).CombinedOutput(); err != nil {
			t.Fatalf("mosquitto_pub: %v %s", err, out)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatalf("mosquitto_sub: %v %s", err, &sayings)
			}
			want := fmt.Sprintf("%s %s hello", topic, q)
			if version == "5" {
				want += " k:v"
			}
			if line := strings.TrimSpace(got.String()); line != want {
				t.Errorf("got %q, want %q", line, want)
			}
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}
