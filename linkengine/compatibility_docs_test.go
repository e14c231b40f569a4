package linkengine_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	namedTests   = regexp.MustCompile("`(?:(\\w+)\\.)?((?:Test|Fuzz)\\w+)`")
	declaredTest = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	versionRow   = regexp.MustCompile("(?m)^\\| `(\\d[^`]*)` \\|")
)

// Every test that the pages on compatibility name is there, every played or
// hostile peer is named, the versions are those that are played, and the pages
// agree.
func TestCompatibilityPages(t *testing.T) {
	there := declaredTests(t)
	var tables [2][]string
	for i, page := range []string{"../docs/compatibility.md", "../docs/compatibility.zh.md"} {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		var played []string
		for _, m := range versionRow.FindAllStringSubmatch(text, -1) {
			played = append(played, m[1])
		}
		for n, v := range versions {
			if len(played) != len(versions) || played[n] != v.name {
				t.Fatalf("%s has the versions %v, and %s is played", page, played, v.name)
			}
		}
		for line := range strings.Lines(text) {
			row := ""
			for _, m := range namedTests.FindAllStringSubmatch(line, -1) {
				row += m[0]
				if m[1] == "" {
					m[1] = "linkengine"
				}
				if !there[m[1]+"."+m[2]] {
					t.Errorf("%s names %s, which is not there", page, m[0])
				}
			}
			if row != "" {
				tables[i] = append(tables[i], row)
			}
		}
		for name := range there {
			own, ours := strings.CutPrefix(name, "linkengine.")
			if ours && (strings.HasPrefix(own, "TestPlayed") || strings.HasPrefix(own, "TestHostile")) && !strings.Contains(text, "`"+own+"`") {
				t.Errorf("%s does not name %s", page, own)
			}
		}
	}
	if en, zh := strings.Join(tables[0], "\n"), strings.Join(tables[1], "\n"); en != zh || len(tables[0]) < 25 {
		t.Errorf("the tables differ or are short: %d and %d rows", len(tables[0]), len(tables[1]))
	}
}

// declaredTests are the tests of this package and those below it, as
// package.Name.
func declaredTests(t *testing.T) map[string]bool {
	t.Helper()
	there := make(map[string]bool)
	for _, pattern := range []string{"*_test.go", "*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			pkg := filepath.Dir(f)
			if pkg == "." {
				pkg = "linkengine"
			}
			for _, m := range declaredTest.FindAllStringSubmatch(string(b), -1) {
				there[pkg+"."+m[1]] = true
			}
		}
	}
	return there
}
