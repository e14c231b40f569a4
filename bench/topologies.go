package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A vetCase is a generated topology that clinkc vet finds nothing in.
type vetCase struct {
	name   string
	sites  int
	peers  func(n, site int) []int // the sites that a site links with
	growth bool                    // one of those that show how the cost grows
}

func vetCases() []vetCase {
	return []vetCase{
		{"ring-300", 300, near(1), false},
		{"ring-1000", 1000, near(1), false},
		{"hub-1000", 1000, hub, false},
		{"mesh-100", 100, mesh, false},
		{"k20-100", 100, near(10), true},
		{"k20-300", 300, near(10), true},
		{"k20-1000", 1000, near(10), true},
	}
}

func vetCaseNames() []string {
	var names []string
	for _, c := range vetCases() {
		names = append(names, c.name)
	}
	return names
}

func chooseVetCases(list string) ([]vetCase, error) {
	if list == "" {
		return vetCases(), nil
	}
	var chosen []vetCase
next:
	for name := range strings.SplitSeq(list, ",") {
		for _, c := range vetCases() {
			if c.name == name {
				chosen = append(chosen, c)
				continue next
			}
		}
		return nil, fmt.Errorf("-cases: no topology is called %q: there are %s", name, strings.Join(vetCaseNames(), ", "))
	}
	return chosen, nil
}

// near links each site with the k before and the k after it in a ring.
func near(k int) func(n, site int) []int {
	return func(n, site int) []int {
		var l []int
		for d := 1; d <= k; d++ {
			l = append(l, (site+d)%n, (site+n-d)%n)
		}
		return l
	}
}

func hub(n, site int) []int {
	if site > 0 {
		return []int{0}
	}
	return mesh(n, site)
}

func mesh(n, site int) []int {
	var l []int
	for i := range n {
		if i != site {
			l = append(l, i)
		}
	}
	return l
}

func (c vetCase) links() int {
	n := 0
	for i := range c.sites {
		n += len(c.peers(c.sites, i))
	}
	return n
}

// write writes the source: a file a site, every link with credentials, three
// topics and TLS. The files that it names are not there: vet does not ask.
func (c vetCase) write(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for i := range c.sites {
		own := fmt.Sprintf("site-%04d", i)
		var links strings.Builder
		for _, p := range c.peers(c.sites, i) {
			fmt.Fprintf(&links, linkText, fmt.Sprintf("site-%04d", p), own)
		}
		text := fmt.Sprintf(vetSiteText, own, i%7, links.String())
		if err := os.WriteFile(filepath.Join(dir, own+".cue"), []byte(text), 0o666); err != nil {
			return err
		}
	}
	return nil
}

const vetSiteText = `package topology

sites: %[1]q: {
	labels: region: "r%[2]d"
	listeners: mqtts: {
		bind: "0.0.0.0:8883"
		advertise: ["mqtt.%[1]s.example.net:8883"]
		ssl: {certfile: "certs/%[1]s.pem", keyfile: "certs/%[1]s.key", cacertfile: "certs/ca.pem"}
	}
	cluster: links: {
%[3]s	}
}
`

const linkText = `		%[1]q: {
			server:   "mqtt.%[1]s.example.net:8883"
			clientid: "link-%[2]s-"
			username: "%[2]s-to-%[1]s"
			password: "file://secrets/%[2]s-to-%[1]s"
			topics: ["global/#", "fwd/%[2]s/+", "cluster/+/status"]
			ssl: {enable: true, verify: "verify_peer", cacertfile: "certs/ca.pem"}
		}
`
