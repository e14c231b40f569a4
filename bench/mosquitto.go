package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

var errNoMosquitto = errors.New(`mosquitto, the peer to compare with, is not installed; on Debian and Ubuntu

	sudo apt-get install mosquitto

brings it (no service of it needs to run); -alone measures without it`)

// mosquittoProgram finds the broker; Debian puts it where only root's PATH
// leads.
func mosquittoProgram() (string, error) {
	for _, name := range []string{"mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errNoMosquitto
}

// mosquittoVersion is the first line of its help.
func mosquittoVersion(ctx context.Context, program string) string {
	out, _ := exec.CommandContext(ctx, program, "-h").Output() // exits 1 after help
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

// The limits are raised so that mosquitto neither waits for more than the
// load generator does nor drops, and Nagle's algorithm is off, as in clinkd.
const mosquittoCommon = `listener %s 127.0.0.1
allow_anonymous true
persistence false
log_dest stdout
log_type error
log_type warning
set_tcp_nodelay true
max_inflight_messages 1000
max_queued_messages 100000
`

const mosquittoBridge = `
connection bench
address %s
topic fwd/# both 1
bridge_protocol_version mqttv311
cleansession true
notifications false
restart_timeout 1
`

// startMosquitto starts two brokers with a bridge from a to b.
func startMosquitto(ctx context.Context, dir, program, a, b string) (*pair, error) {
	brokers := &pair{name: "mosquitto", publish: a, subscribe: b}
	for _, c := range []struct{ name, addr, bridge string }{
		{"mosquitto-b", b, ""},
		{"mosquitto-a", a, fmt.Sprintf(mosquittoBridge, b)},
	} {
		file := filepath.Join(dir, c.name+".conf")
		text := fmt.Sprintf(mosquittoCommon, port(c.addr)) + c.bridge
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return brokers, err
		}
		if err := brokers.start(ctx, dir, c.name, c.addr, program, "-c", file); err != nil {
			return brokers, err
		}
	}
	return brokers, nil
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
