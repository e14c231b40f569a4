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
	policy bool                    // with rules of a team, severities and waivers
	edited bool                    // one of those that are changed under clinkc vet --watch
}

func vetCases() []vetCase {
	return []vetCase{
		{name: "ring-300", sites: 300, peers: near(1)},
		{name: "ring-1000", sites: 1000, peers: near(1), edited: true},
		{name: "hub-1000", sites: 1000, peers: hub},
		{name: "mesh-100", sites: 100, peers: mesh},
		{name: "k20-100", sites: 100, peers: near(10), growth: true},
		{name: "k20-300", sites: 300, peers: near(10), growth: true},
		{name: "k20-1000", sites: 1000, peers: near(10), growth: true, edited: true},
		{name: "ring-1000-policy", sites: 1000, peers: near(1), policy: true, edited: true},
		{name: "mesh-100-policy", sites: 100, peers: mesh, policy: true},
		{name: "k20-1000-policy", sites: 1000, peers: near(10), policy: true},
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
// topics and TLS, and the certificates. The credentials are not there: vet does
// not ask for them.
func (c vetCase) write(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	var names []string
	for i := range c.sites {
		own := siteName(i)
		names = append(names, own)
		if err := os.WriteFile(filepath.Join(dir, own+".cue"), []byte(c.site(i, "")), 0o666); err != nil {
			return err
		}
	}
	if err := writeCertificates(filepath.Join(dir, "certs"), names); err != nil || !c.policy {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "rules"), 0o777); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "policy.cue"), []byte(policyText), 0o666); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "rules", "team.cue"), []byte(rulesText), 0o666)
}

func siteName(i int) string { return fmt.Sprintf("site-%04d", i) }

// site is the file of a site; topic is one that its links want besides, or "".
func (c vetCase) site(i int, topic string) string {
	own, more := siteName(i), ""
	if topic != "" {
		more = fmt.Sprintf(", %q", topic)
	}
	var links strings.Builder
	for n, p := range c.peers(c.sites, i) {
		verify := `"verify_peer"`
		if c.policy && n == 0 {
			verify = `"verify_none" @clink(ignore="tls-no-verify",reason="measured",until="2999-12-31")`
		}
		fmt.Fprintf(&links, linkText, siteName(p), own, verify, more)
	}
	return fmt.Sprintf(vetSiteText, own, i%7, links.String())
}

const policyText = `package topology

policy: severity: {"plaintext-public": "error", "tls-no-verify": "error"}
`

const rulesText = `package rules

findings: {
	"no-tls": [for s, v in sites for p, l in v.links if !l.ssl.enable {site: s, peer: p, message: "links use TLS here"}]
	"no-region": [for s, v in sites if v.labels.region == _|_ {site: s, message: "every site has a region here"}]
	"small-pool": [for s, v in sites for p, l in v.links if l.pool_size < 2 {site: s, peer: p, message: "links have two connections or more", severity: "warning"}]
}
`

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
			topics: ["global/#", "fwd/%[2]s/+", "cluster/+/status"%[4]s]
			ssl: {
				enable:     true
				verify:     %[3]s
				cacertfile: "certs/ca.pem"
			}
		}
`
