package command_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A fleet is a topology of three sites in one file, so that one save changes
// them all at once.
type fleet struct {
	*daemon
	ports map[string]string
	saved int
}

func startFleet(t *testing.T, links string) *fleet {
	t.Helper()
	dir := t.TempDir()
	f := &fleet{ports: map[string]string{}}
	for _, site := range []string{"a", "b", "c"} {
		f.ports[site] = freePort(t)
	}
	f.write(t, dir, links)
	f.daemon = start(t, dir, t.TempDir(), "--site", "a", "--site", "b", "--site", "c")
	return f
}

// write writes the topology. Links are lines of SITE>PEER and what else the
// half says; SITE>PEER's server is the peer's.
func (f *fleet) write(t *testing.T, dir, links string) {
	t.Helper()
	f.saved++
	text := fmt.Sprintf("package topology\n\n// Save %d.\n", f.saved)
	for _, site := range []string{"a", "b", "c"} {
		text += fmt.Sprintf("sites: %s: {\n\tlisteners: mqtt: bind: \"127.0.0.1:%s\"\n\taccess: users: nobody: password: \"of-no-use\"\n}\n", site, f.ports[site])
	}
	for line := range strings.Lines(links) {
		way, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		site, peer, ok := strings.Cut(way, ">")
		if !ok {
			continue
		}
		text += fmt.Sprintf("sites: %s: cluster: links: %s: {server: \"127.0.0.1:%s\", username: \"%s-to-%s\", password: \"pw-%s-%s\", topics: [\"t/#\"]%s}\n",
			site, peer, f.ports[peer], site, peer, site, peer, rest)
	}
	path := filepath.Join(dir, "sites.cue")
	if err := os.WriteFile(path+".tmp", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
}

// save writes the topology and waits until so many changes of links are made.
func (f *fleet) save(links string, changes int) {
	f.t.Helper()
	const line = "link change applied"
	want := strings.Count(f.log.String(), line) + changes
	f.write(f.t, f.dir, links)
	until(f.t, fmt.Sprintf("%d changes", changes), func() bool { return strings.Count(f.log.String(), line) >= want })
}

// tooLate is what a link says whose peer did not answer in time. That two seconds
// are enough is promised by nobody on a machine that is busy with other tests;
// that it comes online after that is.
var tooLate = regexp.MustCompile(`no SUBACK in time|no PUBACK within|no answer within|did not answer actor_init within|does not answer a ping`)

// refusals are lines of the log that say that somebody was turned away, or
// could not connect.
func (f *fleet) refusals() (lines []string) {
	for line := range strings.Lines(f.log.String()) {
		for _, word := range []string{"rejected", "refused", "route replication is down", "connection is down", "level=WARN", "level=ERROR"} {
			if strings.Contains(line, word) && !strings.Contains(line, "literal") && !tooLate.MatchString(line) {
				lines = append(lines, line)
				break
			}
		}
	}
	return lines
}

func (f *fleet) gone(site, peer string) {
	f.t.Helper()
	until(f.t, "the end of "+site+"'s link to "+peer, func() bool {
		r := f.daemon.link(site, peer).Replication
		return r.State == "" || r.State == "down" && r.Reason == "disabled"
	})
}

// Whatever happens to both ends of a link in one revision, no end is ever
// turned away by the other.
func TestBothEndsChangeWithoutARefusal(t *testing.T) {
	t.Parallel()
	rounds := fewer(20)
	both := func(more string) string { return "a>b " + more + "\nb>a " + more }
	tests := []struct {
		name    string
		off, on string
		linked  string // a's peer in off, "" for none
		changes int    // of links, each time
	}{
		{"enabled and disabled", both(", enable: false"), both(""), "", 2},
		{"created and deleted", "", both(""), "", 2},
		{"a peer of another name", "a>c\nc>a", both(""), "c", 4},
		{"another client id", both(", clientid: \"other\""), both(""), "b", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := startFleet(t, tt.off)
			for range rounds {
				f.save(tt.on, tt.changes)
				f.online("a", "b")
				f.online("b", "a")
				f.save(tt.off, tt.changes)
				if tt.linked == "" {
					f.gone("a", "b")
					f.gone("b", "a")
				} else {
					f.online("a", tt.linked)
					f.online(tt.linked, "a")
				}
			}
			if lines := f.refusals(); len(lines) > 0 {
				t.Errorf("%d refusals, the first: %s", len(lines), lines[0])
			}
		})
	}
}

// A site that takes over a name's address is not taken for the one that had it.
func TestAddressGoesToAnotherSite(t *testing.T) {
	t.Parallel()
	f := startFleet(t, "a>b\nb>a")
	f.online("a", "b")
	for range fewer(10) {
		f.ports["b"], f.ports["c"] = f.ports["c"], f.ports["b"]
		f.save("a>b\nb>a", 1)
		f.online("a", "b")
		f.online("b", "a")
	}
	if lines := f.refusals(); len(lines) > 0 {
		t.Errorf("%d refusals, the first: %s", len(lines), lines[0])
	}
}
