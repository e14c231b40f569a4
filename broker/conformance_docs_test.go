package broker

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	namedTest    = regexp.MustCompile("`(Test\\w+)(?:/([^`]+))?`")
	declaredTest = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	namedGroup   = regexp.MustCompile(`^\| ([^|]+) \| ([^|]+) \|`)
)

// Every test that the pages on conformance name is there, every conformance
// test and regression is named or covered by name, and the pages agree.
func TestConformancePages(t *testing.T) {
	there := declaredTests(t)
	var tables [2][]string
	for i, page := range []string{"../docs/conformance.md", "../docs/conformance.zh.md"} {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			g := namedGroup.FindStringSubmatch(line)
			if g == nil {
				continue
			}
			row := g[1] + "|" + g[2]
			for _, m := range namedTest.FindAllStringSubmatch(line, -1) {
				row += "|" + m[0]
				if !there[m[1]] || m[2] != "" && !there[m[1]+"/"+m[2]] {
					t.Errorf("%s names %s, which is not there", page, m[0])
				}
			}
			tables[i] = append(tables[i], row)
		}
		for name := range there {
			if strings.HasPrefix(name, "TestConformanceV") && strings.Contains(name, "/") && !strings.Contains(string(b), "`"+name+"`") {
				t.Errorf("%s does not name %s", page, name)
			}
		}
	}
	if en, zh := strings.Join(tables[0], "\n"), strings.Join(tables[1], "\n"); en != zh || len(tables[0]) < 20 {
		t.Errorf("the tables differ or are short: %d and %d rows", len(tables[0]), len(tables[1]))
	}
}

func declaredTests(t *testing.T) map[string]bool {
	there := map[string]bool{}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range declaredTest.FindAllStringSubmatch(string(b), -1) {
			there[m[1]] = true
		}
	}
	for prefix, c := range map[string]conformance{"TestConformanceV3/": conformanceV3, "TestConformanceV5/": conformanceV5} {
		for name := range c {
			there[prefix+name] = true
		}
	}
	for _, r := range regressions {
		there["TestRegressions/"+strings.ReplaceAll(r.name, " ", "_")] = true
	}
	return there
}
