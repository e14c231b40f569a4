package command_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clink/cmd/clinkd/command"
)

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	two := filepath.Join(examples, "two-sites")
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no command", nil, 64, "no command given"},
		{"unknown command", []string{"start"}, 64, `no command "start"`},
		{"help", []string{"help"}, 0, "Usage:"},
		{"version", []string{"version"}, 0, "clinkd "},
		{"flags", []string{"run", "-h"}, 0, "  --data-dir DIR  "},
		{"unknown flag", []string{"run", "--nope", two}, 64, "clinkd: there is no flag --nope: clinkd run -h lists the flags\n"},
		{"bad value", []string{"run", "--resync", "soon", two}, 64, `clinkd: invalid value "soon" for --resync: parse error`},
		{"missing value", []string{"run", two, "--site"}, 64, "clinkd: an argument is needed after --site\n"},
		{"flags after the directory", []string{"run", two, "--log-format", "xml"}, 64, "neither text nor json"},
		{"no flag after --", []string{"run", "--", two, "--log-format"}, 64, "got 2 arguments"},
		{"no directory", []string{"run"}, 64, "takes one directory"},
		{"two directories", []string{"run", two, two}, 64, "takes one directory"},
		{"missing directory", []string{"run", filepath.Join(dir, "none")}, 64, "no such file"},
		{"a file", []string{"run", file}, 64, "is not a directory"},
		{"empty directory", []string{"run", "--data-dir", t.TempDir(), dir}, 3, "CUE files"},
		{"data inside the source", []string{"run", "--data-dir", filepath.Join(two, "data"), two}, 64, "inside the topology"},
		{"unknown site", []string{"run", "--data-dir", dir, "--site", "site-x", two}, 64, `"site-a", "site-b"`},
		{"certificate without key", []string{"run", "--http-cert", file, two}, 64, "go together"},
		{"pprof in the open", []string{"run", "--pprof", "0.0.0.0:6060", two}, 64, "loopback"},
		{"log format", []string{"run", "--log-format", "xml", two}, 64, "neither text nor json"},
		{"bad keys", []string{"run", "--data-dir", dir, "--api-keys", file, two}, 3, "no key in it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			c := command.Command{Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }}
			ctx, cancel := context.WithTimeout(t.Context(), deadline) // lest one runs
			defer cancel()
			if code := c.Run(ctx, tt.args); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if !strings.Contains(out.String(), tt.want) {
				t.Errorf("said %q, want %q", out.String(), tt.want)
			}
		})
	}
}

// Who is told to end before it has started ends well, and blames nothing.
func TestStopBeforeTheStart(t *testing.T) {
	var out bytes.Buffer
	c := command.Command{Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	args := []string{"run", "--data-dir", t.TempDir(), "--http", "127.0.0.1:0", filepath.Join(examples, "two-sites")}
	if code := c.Run(ctx, args); code != 0 || strings.Contains(out.String(), "clinkd: ") {
		t.Errorf("exit code %d: %s", code, out.String())
	}
}

func TestListenersOffLoopbackNeedSites(t *testing.T) {
	dir := copyExample(t, "two-sites")
	rewrite(t, dir, func(text string) string { return strings.ReplaceAll(text, `bind: "127.0.0.1:`, `bind: "0.0.0.0:`) })
	var out bytes.Buffer
	c := command.Command{Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }}
	if code := c.Run(t.Context(), []string{"run", "--data-dir", t.TempDir(), dir}); code != 64 || !strings.Contains(out.String(), `"site-a", "site-b"`) {
		t.Errorf("exit code %d: %s", code, out.String())
	}
}

func TestFlagsFromEnvironment(t *testing.T) {
	var out bytes.Buffer
	env := map[string]string{"CLINK_LOG_FORMAT": "xml"}
	c := command.Command{Stdout: &out, Stderr: &out, Getenv: func(k string) string { return env[k] }}
	if code := c.Run(t.Context(), []string{"run", filepath.Join(examples, "two-sites")}); code != 64 || !strings.Contains(out.String(), "neither text nor json") {
		t.Errorf("exit code %d: %s", code, out.String())
	}
}
