package compiler_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"clink/compiler"
)

// A certificate that is replaced, gone or expired while the source is watched
// is found as it would be by a fresh look.
func TestCertificatesAreLookedAtAgain(t *testing.T) {
	dir := filepath.Join(corpus, "good", "tls-cert-ok")
	now, swap := vetted, map[string]string{}
	look := func(previous *compiler.Result) *compiler.Result {
		t.Helper()
		r, err := compiler.Compile(t.Context(), os.DirFS(dir), compiler.Options{Now: now, Previous: previous, ReadFile: func(name string) ([]byte, error) {
			if other, ok := swap[name]; ok {
				name = other
			}
			return os.ReadFile(filepath.Join(dir, name))
		}})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	last := look(nil)
	for _, step := range []struct {
		name   string
		change func()
		faults bool
	}{
		{"nothing changed", func() {}, false},
		{"another authority", func() { swap["certs/ca.pem"] = "certs/other.pem" }, true},
		{"still", func() {}, true},
		{"no authority", func() { swap["certs/ca.pem"] = "certs/none.pem" }, true},
		{"the first one again", func() { clear(swap) }, false},
		{"much later", func() { now = time.Date(2101, 1, 1, 0, 0, 0, 0, time.UTC) }, true},
		{"back in time", func() { now = vetted }, false},
		{"long ago", func() { now = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC) }, true},
	} {
		step.change()
		last = look(last)
		if fresh := look(nil); !reflect.DeepEqual(last.Findings, fresh.Findings) {
			t.Errorf("%s: %v, but afresh %v", step.name, last.Findings, fresh.Findings)
		}
		if len(last.Findings) > 0 != step.faults {
			t.Errorf("%s: %v", step.name, last.Findings)
		}
	}
}
