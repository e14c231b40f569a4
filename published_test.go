package clink_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/load"

	clinkc "clink/cmd/clinkc/command"
	"clink/diagnostic"
)

// beyondCUE are the rules that the published files leave to clinkc, and why.
// Every other rule of the catalogue must fail under plain "cue vet -c".
var beyondCUE = map[string]string{
	"duplicate-link":       "CUE merges the files before it looks",
	"server-looks-own":     "is about EMQX's own files",
	"tls-no-port":          "a warning",
	"tls-no-verify":        "a warning",
	"tls-files":            "reads files",
	"tls-cert":             "reads files and the clock",
	"tls-client-cert":      "needs the listener that an address leads to",
	"plaintext-public":     "a warning",
	"clientid-collision":   "access is derived in Go",
	"clientid-overlap":     "a warning",
	"peer-unauthenticated": "access is derived in Go",
	"shared-credentials":   "a warning",
	"missing-credentials":  "access is derived in Go",
	"literal-secret":       "a warning",
	"secret-unreadable":    "reads files",
	"redacted-secret":      "what holds a credential is known in Go",
	"topic-redundant":      "covering of filters is computed in Go",
	"nothing-flows":        "a warning",
	"no-transit":           "a warning",
	"link-cycle":           "off",
	"listener-loopback":    "needs the listener that an address leads to",
	"listener-mountpoint":  "needs the listener that an address leads to",
	"packet-size":          "a warning",
	"connection-budget":    "a warning",
	"buffer-budget":        "a warning",
	"acl-missing":          "an ACL is evaluated in Go",
	"acl-open":             "a warning",
	"target-version":       "the table of versions is in Go",
	"conf-shadow":          "asks a live cluster",
	"flow-policy":          "flows are computed in Go",
	"waiver-expired":       "reads attributes and the clock",
}

// shapeBeyondCUE are the cases of the rules that CUE does express, schema
// mostly, that it lets pass.
var shapeBeyondCUE = map[string]string{
	"schema-no-package":       "cue leaves files without a package clause out",
	"schema-secret-reference": "the form of a reference is read in Go",
	"schema-top-level":        "top-level fields are free in CUE",
	"schema-utf8":             "cue reads any bytes in a comment",
	"schema-waiver-date":      "a waiver is an attribute, which CUE does not look into",
	"schema-waiver-form":      "a waiver is an attribute, which CUE does not look into",
	"schema-waiver-key":       "a waiver is an attribute, which CUE does not look into",
	"schema-waiver-reason":    "a waiver is an attribute, which CUE does not look into",
	"schema-waiver-rule":      "a waiver is an attribute, which CUE does not look into",
	"schema-waiver-schema":    "a waiver is an attribute, which CUE does not look into",
	"team-misspelt":           "which rules a team has is known in Go",
	"name-unsafe-default":     "a warning here",
	"name-unsafe-dot":         "a warning here",
}

// waivedBeyondCUE are the good topologies that plain CUE fails, and the one
// rule by which it does: a waiver is an attribute, which CUE does not look into.
var waivedBeyondCUE = map[string]string{"waiver-expired-ok-around": "server-unknown"}

// expressible reports whether plain CUE can know of a finding of a rule in a
// file: it cannot where the rule is the team's own, or the file one of the
// team's rules, for these are a package of their own, over facts that Go makes.
func expressible(rule, file string) bool {
	_, builtin := diagnostic.FindRule(rule)
	return builtin && beyondCUE[rule] == "" && !strings.HasPrefix(file, "rules/")
}

// tells reports whether an error of plain CUE is one by a published rule.
func tells(err error, rule string) bool {
	return err != nil && strings.Contains(errors.Details(err, nil), fmt.Sprintf("_clink.%q.", rule))
}

// published is a copy of a topology with what clinkc schema writes.
func published(t *testing.T, from string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c := clinkc.Command{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }}
	if code := c.Main([]string{"schema", dir}); code != 0 {
		t.Fatalf("clinkc schema: exit code %d: %s", code, &out)
	}
	return dir
}

// plainVet is what plain "cue vet -c" has to say, nil if nothing.
func plainVet(dir string) error {
	instance := load.Instances([]string{"."}, &load.Config{Dir: dir})[0]
	if instance.Err != nil {
		return instance.Err
	}
	return cuecontext.New().BuildInstance(instance).Validate(cue.Concrete(true))
}

// found are the errors in a case's want.txt, as rules: all, and those that CUE
// can express.
func found(t *testing.T, dir string) (failing, expressed []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "want.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^error\[([a-z0-9-]+)\] ([^\s:]*)`).FindAllStringSubmatch(string(text), -1) {
		failing = append(failing, m[1])
		if expressible(m[1], m[2]) {
			expressed = append(expressed, m[1])
		}
	}
	return failing, expressed
}

// Plain "cue vet -c" with the published files fails where clinkc finds an error
// that CUE can express, with a sentence under the rule's name, and passes
// everywhere else.
func TestPublishedRulesOverTheCorpus(t *testing.T) {
	if testing.Short() {
		t.Skip("runs CUE alone, over and over; the long run does")
	}
	cases, err := filepath.Glob("testdata/topologies/*/*")
	if err != nil || len(cases) < 50 {
		t.Fatal(len(cases), err)
	}
	exempt := maps.Clone(shapeBeyondCUE)
	maps.Copy(exempt, waivedBeyondCUE)
	proved := map[string]bool{}
	for _, dir := range cases {
		name := filepath.Base(dir)
		delete(exempt, name)
		t.Run(name, func(t *testing.T) {
			err := plainVet(published(t, dir))
			if filepath.Base(filepath.Dir(dir)) == "good" {
				checkGood(t, name, err)
				return
			}
			failing, expressed := found(t, dir)
			if wants := len(expressed) > 0 && shapeBeyondCUE[name] == ""; wants != (err != nil) {
				t.Fatalf("clinkc finds %v, of which CUE expresses %v; plain CUE says %v", failing, expressed, err)
			}
			for _, r := range expressed {
				if err != nil && (r == "schema" || tells(err, r)) {
					proved[r] = true
				}
			}
		})
	}
	for name := range exempt {
		t.Errorf("%s is exempt and no case", name)
	}
	for _, r := range diagnostic.Rules() {
		if (beyondCUE[r.Name] == "") != proved[r.Name] {
			t.Errorf("%s: fails under plain CUE: %v, reason why it need not: %q", r.Name, proved[r.Name], beyondCUE[r.Name])
		}
	}
}

// checkGood checks what plain CUE says of a good topology: nothing, but for the
// one rule that is waived.
func checkGood(t *testing.T, name string, err error) {
	t.Helper()
	waived := waivedBeyondCUE[name]
	switch {
	case waived == "" && err != nil:
		t.Errorf("a good topology fails: %s", errors.Details(err, nil))
	case waived != "" && (!tells(err, waived) || len(errors.Errors(err)) != 1):
		t.Errorf("what is waived is no fault, or not the only one: %v", err)
	}
}

// A rule that the policy lowers is not applied, for plain CUE knows no warnings.
func TestPublishedRulesObeyThePolicy(t *testing.T) {
	for rule, dir := range map[string]string{"one-sided": "one-sided-no-links", "enable-mismatch": "enable-mismatch-there", "topic-invalid": "topic-invalid-hash", "server-many": "server-many-two", "unknown-site": "unknown-site-no-idea"} {
		for severity, fails := range map[string]bool{"off": false, "info": false, "warning": false, "error": true} {
			copied := published(t, filepath.Join("testdata/topologies/bad", dir))
			text := fmt.Sprintf("package topology\n\npolicy: severity: %q: %q\n", rule, severity)
			if err := os.WriteFile(filepath.Join(copied, "policy.cue"), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
			if err := plainVet(copied); (err != nil) != fails {
				t.Errorf("%s as %s: %v", rule, severity, err)
			}
		}
	}
}

// ring is a topology of sites that each link with both neighbours.
func ring(t testing.TB, dir string, sites int) {
	t.Helper()
	var b strings.Builder
	b.WriteString("package topology\n\n")
	for i := range sites {
		fmt.Fprintf(&b, "sites: \"s%d\": {\n\tlisteners: mqtt: bind: \"127.0.0.1:%d\"\n\tcluster: links: {\n", i, 2000+i)
		for _, p := range []int{(i + 1) % sites, (i + sites - 1) % sites} {
			fmt.Fprintf(&b, "\t\t\"s%d\": {server: \"127.0.0.1:%d\", topics: [\"t/#\", \"u/%d/#\"], username: \"s%d\", password: \"file://secrets/%d\"}\n", p, 2000+p, i, i, i)
		}
		b.WriteString("\t}\n}\n")
	}
	if err := os.WriteFile(filepath.Join(dir, "ring.cue"), []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
}

// The published rules stay linear: ten times the links must not cost fifty
// times as much. What is allocated stands for the work: it does not depend on
// what else the machine does.
func TestPublishedRulesAreLinear(t *testing.T) {
	if testing.Short() {
		t.Skip("counts what CUE alone allocates; the long run does")
	}
	cost := func(sites int) uint64 {
		from := t.TempDir()
		ring(t, from, sites)
		dir := published(t, from)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := plainVet(dir); err != nil {
			t.Fatal(errors.Details(err, nil))
		}
		runtime.ReadMemStats(&after)
		return after.Mallocs - before.Mallocs
	}
	small, large := cost(50), cost(500)
	t.Logf("100 links %d allocations, 1000 links %d", small, large)
	if large > 50*small {
		t.Errorf("100 links take %d allocations, 1000 links %d", small, large)
	}
}
