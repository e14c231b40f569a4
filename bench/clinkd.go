package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"

	"clink/internal/freeport"
)

// buildClinkd builds the daemon of this checkout.
func buildClinkd(ctx context.Context, dir string) (string, error) {
	program := filepath.Join(dir, "clinkd")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "clink/cmd/clinkd")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build clinkd, for which the working directory must be the checkout: %w\n%s", err, out)
	}
	return program, nil
}

const (
	siteA, siteB = "bench-a", "bench-b"
	ourName      = "clinkd"
)

// siteText has what others call the listener by, where that is not its address.
const siteText = `package topology

sites: %q: {
	listeners: mqtt: {
		bind: %q%s
	}
	access: anonymous: true
	cluster: links: %q: {
		server:   %q
		topics: ["fwd/#"]
		username: %q
		password: "file://secrets/%s"
	}
}
`

// writeTopology writes the source of two linked sites, that listen at a and b
// and reach each other through viaA and viaB.
func writeTopology(dir, a, b, viaA, viaB string) error {
	advertise := func(bind, via string) string {
		if bind == via {
			return ""
		}
		return fmt.Sprintf("\n\t\tadvertise: [%q]", via)
	}
	return writeFiles(dir, map[string]string{
		siteA + ".cue":       fmt.Sprintf(siteText, siteA, a, advertise(a, viaA), siteB, viaB, "from-a", "a-to-b"),
		siteB + ".cue":       fmt.Sprintf(siteText, siteB, b, advertise(b, viaB), siteA, viaA, "from-b", "b-to-a"),
		"cue.mod/module.cue": "module: \"bench.example/link\"\nlanguage: version: \"v0.14.0\"\n",
		"secrets/a-to-b":     "password of the link from a to b\n",
		"secrets/b-to-a":     "password of the link from b to a\n",
	})
}

// clinkdPair is two linked sites, each in a process of its own, with proxies
// between them if the link shall be cut.
func (s *stage) clinkdPair(cuttable bool) maker {
	return maker{ourName, func(ctx context.Context, dir string) (*pair, error) {
		addrs, err := freeport.Addresses(4)
		if err != nil {
			return &pair{}, err
		}
		p := &pair{name: ourName, publish: addrs[0], subscribe: addrs[1], profile: addrs[2:]}
		via, err := p.via(cuttable, addrs[0], addrs[1])
		if err != nil {
			return p, err
		}
		source := filepath.Join(dir, "topology")
		if err := writeTopology(source, addrs[0], addrs[1], via[0], via[1]); err != nil {
			return p, err
		}
		for i, site := range []string{siteA, siteB} {
			if err := s.startClinkd(ctx, p, dir, site, addrs[i], addrs[2+i], source); err != nil {
				return p, err
			}
		}
		return p, nil
	}}
}

const nodeText = `package topology

sites: node: {
	listeners: mqtt: bind: %q
	access: anonymous: true
}
`

// clinkdNode is one site, with further flags of clinkd run.
func (s *stage) clinkdNode(flags ...string) maker {
	return maker{ourName, func(ctx context.Context, dir string) (*pair, error) {
		addrs, err := freeport.Addresses(2)
		if err != nil {
			return &pair{}, err
		}
		p := &pair{name: ourName, publish: addrs[0], subscribe: addrs[0], profile: addrs[1:]}
		source := filepath.Join(dir, "topology")
		err = writeFiles(source, map[string]string{
			"node.cue":           fmt.Sprintf(nodeText, addrs[0]),
			"cue.mod/module.cue": "module: \"bench.example/node\"\nlanguage: version: \"v0.14.0\"\n",
		})
		if err != nil {
			return p, err
		}
		return p, s.startClinkd(ctx, p, dir, "node", addrs[0], addrs[1], source, flags...)
	}}
}

func (s *stage) startClinkd(ctx context.Context, p *pair, dir, site, addr, pprof, source string, flags ...string) error {
	args := []string{"run", "--site", site, "--http", "127.0.0.1:0", "--pprof", pprof, "--data-dir", filepath.Join(dir, site+"-data"), "--log-level", "warn"}
	return p.start(ctx, dir, "clinkd-"+site, addr, s.clinkd, append(append(args, flags...), source)...)
}
