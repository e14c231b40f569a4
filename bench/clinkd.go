package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// buildClinkd builds the daemon of this checkout.
func buildClinkd(ctx context.Context, dir string) (string, error) {
	program := filepath.Join(dir, "clinkd")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "clink/cmd/clinkd")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build clinkd: %w\n%s", err, out)
	}
	return program, nil
}

const siteText = `package topology

sites: %q: {
	listeners: mqtt: bind: %q
	access: anonymous: true
	cluster: links: %q: {
		server:   %q
		topics: ["fwd/#"]
		username: %q
		password: "file://secrets/%s"
	}
}
`

// writeTopology writes the source of two linked sites.
func writeTopology(dir, a, b string) error {
	files := map[string]string{
		"bench-a.cue":        fmt.Sprintf(siteText, "bench-a", a, "bench-b", b, "from-a", "a-to-b"),
		"bench-b.cue":        fmt.Sprintf(siteText, "bench-b", b, "bench-a", a, "from-b", "b-to-a"),
		"cue.mod/module.cue": "module: \"bench.example/link\"\nlanguage: version: \"v0.14.0\"\n",
		"secrets/a-to-b":     "password of the link from a to b\n",
		"secrets/b-to-a":     "password of the link from b to a\n",
	}
	return writeFiles(dir, files)
}

// startClinkd starts the two sites, each in a process of its own. profile are
// the addresses for their profiles, or empty.
func startClinkd(ctx context.Context, dir, program, a, b string, profile []string) (*pair, error) {
	sites := &pair{name: "clinkd", publish: a, subscribe: b, profile: profile}
	source := filepath.Join(dir, "topology")
	if err := writeTopology(source, a, b); err != nil {
		return sites, err
	}
	for i, c := range []struct{ site, addr string }{{"bench-a", a}, {"bench-b", b}} {
		args := []string{"run", "--site", c.site, "--http", "127.0.0.1:0", "--data-dir", filepath.Join(dir, c.site+"-data"), "--log-level", "warn"}
		if len(profile) > 0 {
			args = append(args, "--pprof", profile[i])
		}
		if err := sites.start(ctx, dir, "clinkd-"+c.site, c.addr, program, append(args, source)...); err != nil {
			return sites, err
		}
	}
	return sites, nil
}
