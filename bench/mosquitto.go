package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"clink/internal/freeport"
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

const mosquittoCommon = `listener %s 127.0.0.1
allow_anonymous true
persistence false
log_dest stdout
log_type error
log_type warning
set_tcp_nodelay true
`

// The limits are raised so that mosquitto neither waits for more than the
// load generator does nor drops, and Nagle's algorithm is off, as in clinkd.
const mosquittoLimits = `max_inflight_messages 1000
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

// mosquittoNode is one broker.
func (s *stage) mosquittoNode(persistent bool) maker {
	return maker{"mosquitto", func(ctx context.Context, dir string) (*pair, error) {
		addrs, err := freeport.Addresses(1)
		if err != nil {
			return &pair{}, err
		}
		p := &pair{name: "mosquitto", publish: addrs[0], subscribe: addrs[0]}
		text := fmt.Sprintf(mosquittoCommon, port(addrs[0])) + mosquittoLimits
		if persistent { // started by root it becomes somebody else otherwise, who must not write here
			text = strings.Replace(text, "persistence false", "user root\npersistence true\npersistence_location "+dir+"/", 1)
		}
		return p, s.startMosquitto(ctx, p, dir, "node", addrs[0], text)
	}}
}

// mosquittoPair is two brokers with a bridge from the first to the second.
func (s *stage) mosquittoPair() maker {
	return s.bridged("mosquitto", mosquittoLimits, mosquittoBridge, false)
}

// mosquittoCut is the same through a proxy, with a session that outlives the
// cut; with all limits raised, or as mosquitto has them by default.
func (s *stage) mosquittoCut(name string, raised bool) maker {
	limits := ""
	if raised {
		limits = mosquittoLimits
	}
	return s.bridged(name, limits, strings.Replace(mosquittoBridge, "cleansession true", "cleansession false", 1), true)
}

func (s *stage) bridged(name, limits, bridge string, cuttable bool) maker {
	return maker{name, func(ctx context.Context, dir string) (*pair, error) {
		addrs, err := freeport.Addresses(2)
		if err != nil {
			return &pair{}, err
		}
		p := &pair{name: name, publish: addrs[0], subscribe: addrs[1]}
		far, err := p.via(cuttable, addrs[1])
		if err != nil {
			return p, err
		}
		text := func(addr string) string { return fmt.Sprintf(mosquittoCommon, port(addr)) + limits }
		if err := s.startMosquitto(ctx, p, dir, "b", addrs[1], text(addrs[1])); err != nil {
			return p, err
		}
		return p, s.startMosquitto(ctx, p, dir, "a", addrs[0], text(addrs[0])+fmt.Sprintf(bridge, far[0]))
	}}
}

func (s *stage) startMosquitto(ctx context.Context, p *pair, dir, name, addr, text string) error {
	file := name + ".conf"
	if err := writeFiles(dir, map[string]string{file: text}); err != nil {
		return err
	}
	return p.start(ctx, dir, p.name+"-"+name, addr, s.mosquitto, "-c", filepath.Join(dir, file))
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
