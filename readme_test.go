package clink_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	clinkc "clink/cmd/clinkc/command"
)

// What the READMEs show of clinkc is what clinkc says.
func TestReadmeTranscript(t *testing.T) {
	const command = "clinkc vet examples/topologies/vendor-example"
	var out bytes.Buffer
	c := clinkc.Command{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }}
	if code := c.Main(strings.Fields(command)[1:]); code != 1 {
		t.Fatalf("exit code %d: %s", code, &out)
	}
	want := "    $ go run ./cmd/" + command + "\n"
	for line := range strings.Lines(out.String()) {
		want += strings.TrimRight("    "+line, " \n") + "\n"
	}
	for _, name := range []string{"README.md", "README.zh.md"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), want) {
			t.Errorf("%s does not show the output of %s:\n%s", name, command, want)
		}
	}
}
