package command_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"clink/cmd/clinkc/command"
)

// vetSARIF is what vet writes of a directory seen from the root of a checkout.
func vetSARIF(t *testing.T, root string, args ...string) []byte {
	t.Helper()
	var out, errs bytes.Buffer
	c := command.Command{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Getenv: func(name string) string {
		return map[string]string{"GITHUB_WORKSPACE": root}[name]
	}}
	if code := c.Run(t.Context(), append([]string{"vet", "--format", "sarif"}, args...)); code != 1 || errs.Len() > 0 {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	return out.Bytes()
}

func officialSARIF(t *testing.T) *jsonschema.Schema {
	t.Helper()
	f, err := os.Open("../../../diagnostic/testdata/sarif-schema-2.1.0.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	doc, err := jsonschema.UnmarshalJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("file:///sarif.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("file:///sarif.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The SARIF of a broken tree is SARIF, and shows both ends of a one-sided link
// where the checkout has them, whatever its folder is called.
func TestSARIFOfABrokenTree(t *testing.T) {
	schema := officialSARIF(t)
	files := fleet()
	for _, f := range faults() {
		f.plant.in(t, files)
	}
	files["broken.cue"] = "package topology\n\nsites: {{{\n"
	for folder, uri := range map[string]string{".": "", "deploy": "deploy/", ".infra/fleet one": ".infra/fleet%20one/", "..fleet": "..fleet/"} {
		root := t.TempDir()
		dir := filepath.Join(root, folder)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		writeAll(t, dir, files)
		text := vetSARIF(t, root, dir)
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err == nil {
			err = schema.Validate(doc)
		}
		if err != nil {
			t.Errorf("%s: %v", folder, err)
		}
		ends := endsOf(t, text, "one-sided")
		want := []string{uri + "plant_09.cue:13", uri + "plant_08.cue:11"}
		if strings.Join(ends, " ") != strings.Join(want, " ") {
			t.Errorf("%s: the ends of the one-sided link are %v, want %v", folder, ends, want)
		}
		if ends := endsOf(t, text, "schema"); len(ends) == 0 {
			t.Errorf("%s: the file that does not parse is no result", folder)
		}
	}
}

// endsOf are the places that the first result of a rule names.
func endsOf(t *testing.T, text []byte, rule string) []string {
	t.Helper()
	type place struct {
		PhysicalLocation struct {
			ArtifactLocation struct{ URI string }
			Region           struct{ StartLine json.Number }
		}
	}
	var log struct {
		Runs []struct {
			Results []struct {
				RuleID                      string
				Locations, RelatedLocations []place
			}
		}
	}
	if err := json.Unmarshal(text, &log); err != nil {
		t.Fatal(err)
	}
	var l []string
	for _, r := range log.Runs[0].Results {
		if r.RuleID != rule || len(l) > 0 {
			continue
		}
		for _, p := range append(r.Locations, r.RelatedLocations...) {
			l = append(l, p.PhysicalLocation.ArtifactLocation.URI+":"+p.PhysicalLocation.Region.StartLine.String())
		}
	}
	return l
}
