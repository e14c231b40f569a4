package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"clink/diagnostic"
	"clink/topic"
	"clink/topology"
)

// buildVersion is the version of the form of build's JSON.
const buildVersion = 1

// A siteBuild is what one site gets.
type siteBuild struct {
	Version   int                       `json:"version"`
	Revision  string                    `json:"revision"`
	Site      string                    `json:"site"`
	Listeners []topology.Listener       `json:"listeners"`
	MQTT      topology.MQTT             `json:"mqtt,omitzero"` // where the source says something of it
	Links     []topology.Link           `json:"links"`
	Grants    []topology.Grant          `json:"grants"`
	Exports   map[string][]topic.Filter `json:"exports"`
}

// build writes what each site gets: into one file a site, or as an array on
// standard output. With errors in the topology it writes nothing.
func (c Command) build(ctx context.Context, s subcommand, args []string) error {
	flags := newFlags()
	target := choice{"json", []string{"json"}}
	color := choice{"auto", []string{"auto", "always", "never"}}
	flags.Var(&target, "target", "`FORM` form of the output: json")
	flags.Var(&color, "color", "`WHEN` colour findings: auto, always or never")
	timeout := flags.Duration("timeout", time.Minute, "`TIME` give up after this time")
	out := flags.String("o", "", "`DIR` write one file a site into DIR, made if need be, and not one array to standard output")
	rest, err := c.parse(s, flags, args, 1)
	if err != nil {
		return helped(err)
	}
	l, err := c.load(ctx, rest, loading{timeout: *timeout})
	if err != nil {
		return err
	}
	if len(l.Findings) > 0 {
		if err := l.report().WriteText(c.Stderr, c.colored(color.value, c.Stderr)); err != nil {
			return err
		}
	}
	if l.Findings.AtLeast(diagnostic.Error) {
		return errFindings
	}
	builds := l.builds()
	if *out == "" {
		text, err := encode(builds)
		if err != nil {
			return err
		}
		return c.print(string(text))
	}
	return writeBuilds(c.path(*out), builds)
}

// builds are what the sites get, in order of name. Lists are never null.
func (l *loaded) builds() []siteBuild {
	builds := []siteBuild{}
	for _, name := range l.Topology.Names() {
		s := l.Topology.Sites[name]
		b := siteBuild{
			Version:   buildVersion,
			Revision:  l.revision,
			Site:      name,
			Listeners: append([]topology.Listener{}, s.Listeners...),
			MQTT:      s.MQTT,
			Links:     append([]topology.Link{}, s.Links...),
			Grants:    append([]topology.Grant{}, s.Grants...),
			Exports:   map[string][]topic.Filter{},
		}
		for peer, filters := range s.Exports {
			b.Exports[peer] = append([]topic.Filter{}, filters...)
		}
		builds = append(builds, b)
	}
	return builds
}

// encode is v as indented JSON with a newline at the end.
func encode(v any) ([]byte, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("write the build as JSON: %w", err)
	}
	return []byte(b.String()), nil
}

// writeBuilds writes all files beside their places first and renames them
// last, so that an error before that changes nothing.
func writeBuilds(dir string, builds []siteBuild) (err error) {
	for _, b := range builds {
		if !fileName(b.Site) {
			return fmt.Errorf("site %q cannot name a file: build to standard output instead, without -o", b.Site)
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("make the output directory: %w", err)
	}
	var files []*pending
	defer func() {
		for _, f := range files {
			err = errors.Join(err, f.discard())
		}
	}()
	for _, b := range builds {
		text, err := encode(b)
		if err != nil {
			return err
		}
		f, err := prepare(filepath.Join(dir, b.Site+".json"), text)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	for _, f := range files {
		if err := f.commit(); err != nil {
			return err
		}
	}
	return nil
}

// fileName reports whether a site's name can stand in a file name everywhere.
func fileName(name string) bool {
	return name != "" && filepath.IsLocal(name+".json") && !strings.ContainsAny(name, `/\:`+"\x00") && len(name) < 250
}
