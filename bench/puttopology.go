package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"clink/internal/freeport"
)

// The sites that are run in one process, and how their link is reached.
const (
	putA      = "bench-a"
	putB      = "bench-b"
	putLinkAt = "/sites/" + putA + "/cluster/links/" + putB
	hubName   = "hub"
)

// putOthers are the sites of the topology that run elsewhere: a ring of them
// has two links each.
const putOthers = 49

// putText is a site, with its listener and its links.
const putText = `package topology

// %[1]s, as somebody wrote it down.
sites: %[1]q: {
	labels: region: "r1"
	listeners: mqtt: bind: %[2]q
	cluster: links: {
%[3]s	}
}
`

// putLinkText is a link: its peer, where that is, and its credentials.
const putLinkText = `		// To %[1]s.
		%[1]q: {
			server: %[2]q
			topics: ["global/#", "fwd/#"]
			username: %[3]q
			password: "file://secrets/%[4]s"
		}
`

// writeFiles writes files by their slash-separated names.
func writeFiles(dir string, files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

const putModule = "module: \"bench.example/put\"\nlanguage: version: \"v0.14.0\"\n"

// writePut writes a source of 100 links: the two that are changed, at a and b,
// and those of the sites that run elsewhere.
func writePut(dir, a, b string) error {
	files := map[string]string{
		"bench-a.cue":        fmt.Sprintf(putText, putA, a, fmt.Sprintf(putLinkText, putB, b, "from-"+putA, "a-to-b")),
		"bench-b.cue":        fmt.Sprintf(putText, putB, b, fmt.Sprintf(putLinkText, putA, a, "from-"+putB, "b-to-a")),
		"cue.mod/module.cue": putModule,
		"secrets/a-to-b":     "password of the link from a to b\n",
		"secrets/b-to-a":     "password of the link from b to a\n",
		".gitignore":         "secrets/\n",
	}
	for i := range putOthers {
		var links strings.Builder
		for _, p := range near(1)(putOthers, i) {
			fmt.Fprintf(&links, putLinkText, siteName(p), elsewhere(p), "from-"+siteName(i), siteName(i)+"-to-"+siteName(p))
		}
		files[siteName(i)+".cue"] = fmt.Sprintf(putText, siteName(i), elsewhere(i), links.String())
	}
	return writeFiles(dir, files)
}

// elsewhere is a loopback address of a site that does not run here, and that
// refuses connections.
func elsewhere(i int) string { return fmt.Sprintf("127.77.%d.%d:18830", i/250, i%250+1) }

// writeHub writes a source with one site that has links to n others, and they
// to it, all enabled or all disabled.
func writeHub(dir string, n int, enable bool) error {
	link := putLinkText
	if !enable {
		link = strings.Replace(link, "server:", "enable: false\n\t\t\tserver:", 1)
	}
	files := map[string]string{"cue.mod/module.cue": putModule}
	var links strings.Builder
	for i := range n {
		own := siteName(i)
		fmt.Fprintf(&links, link, own, elsewhere(i), "from-hub", "hub-to-"+own)
		files[own+".cue"] = fmt.Sprintf(putText, own, elsewhere(i), fmt.Sprintf(link, hubName, elsewhere(n), "from-"+own, own+"-to-hub"))
		files["secrets/hub-to-"+own] = "password for " + own + "\n"
		files["secrets/"+own+"-to-hub"] = "password of " + own + "\n"
	}
	files["hub.cue"] = fmt.Sprintf(putText, hubName, elsewhere(n), links.String())
	return writeFiles(dir, files)
}

// startPut runs the two sites over their topology, which is a git repository.
func startPut(ctx context.Context, dir, program string, commit bool) (*putDaemon, error) {
	at := filepath.Join(dir, "topology")
	addrs, err := freeport.Addresses(2)
	if err != nil {
		return nil, err
	}
	if err := writePut(at, addrs[0], addrs[1]); err != nil {
		return nil, err
	}
	flags := []string{"--site", putA, "--site", putB}
	if commit {
		flags = append(flags, "--git-commit")
		for _, args := range []string{"init --quiet", "add .", "-c user.name=bench -c user.email=bench@localhost commit --quiet -m begin"} {
			if err := runQuiet(ctx, at, nil, "git", strings.Fields(args)...); err != nil {
				return nil, err
			}
		}
	}
	d, err := startDaemon(ctx, dir, program, flags...)
	if err != nil {
		return nil, err
	}
	d.server = addrs[1]
	return d, nil
}

// needGit makes sure that git is here before anything is measured.
func needGit() error {
	if _, err := exec.LookPath("git"); err != nil {
		return fmt.Errorf("%w: changes are also measured with a commit each", err)
	}
	return nil
}
