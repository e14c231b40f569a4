package command

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strings"
)

// A build is what is known of how this program was made.
type build struct {
	Version  string `json:"version"` // of the module, "(devel)" for a working tree
	Commit   string `json:"commit"`  // "" where the build was not in a git work tree
	Date     string `json:"date"`    // of the commit
	Modified bool   `json:"modified"`
	Go       string `json:"go"`
	CUE      string `json:"cue"`
}

func readBuild() build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return build{Version: "unknown"}
	}
	b := build{Version: info.Main.Version, Go: info.GoVersion}
	if b.Version == "" {
		b.Version = "(devel)"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Date = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	for _, dep := range info.Deps {
		if dep.Path == "cuelang.org/go" {
			b.CUE = dep.Version
		}
	}
	return b
}

// String is one line for people.
func (b build) String() string {
	parts := []string{"clinkc", b.Version}
	if b.Commit != "" {
		commit := "commit " + b.Commit
		if b.Modified {
			commit += ", modified"
		}
		parts = append(parts, "("+commit+")")
	}
	if b.CUE != "" {
		parts = append(parts, "cue "+b.CUE)
	}
	return strings.Join(append(parts, b.Go), " ")
}

func (c Command) version(_ context.Context, s subcommand, args []string) error {
	flags := newFlags()
	asJSON := flags.Bool("json", false, "print a JSON object")
	if _, err := c.parse(s, flags, args, 0); err != nil {
		return helped(err)
	}
	b := readBuild()
	if !*asJSON {
		return c.print(b.String() + "\n")
	}
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return fmt.Errorf("write the version as JSON: %w", err)
	}
	return c.print(string(text) + "\n")
}
