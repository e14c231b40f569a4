package command_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// The process collects its garbage as is documented, unless it is told how.
func TestGarbageCollectorTarget(t *testing.T) {
	bin := build(t)
	for gogc, want := range map[string]string{"": "go_gc_gogc_percent 400\n", "150": "go_gc_gogc_percent 150\n"} {
		t.Setenv("GOGC", gogc)
		t.Setenv("GOMEMLIMIT", "1GiB")
		p := spawn(t, bin, copyExample(t, "two-sites"), t.TempDir(), "site-a")
		code, text := p.text("/metrics")
		if code != 200 || !strings.Contains(text, want) || !strings.Contains(text, "go_gc_gomemlimit_bytes 1.073741824e+09\n") {
			t.Errorf("GOGC=%q: %d %s", gogc, code, text)
		}
		p.kill()
	}
}

// Profiles are served where they were asked for, and nowhere else.
func TestProfiles(t *testing.T) {
	t.Parallel()
	addr := "127.0.0.1:" + freePort(t)
	d := start(t, copyExample(t, "two-sites"), t.TempDir(), "--pprof", addr)
	res, err := http.Get("http://" + addr + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 || !strings.Contains(string(b), "goroutine profile:") {
		t.Errorf("%d %.100s %v", res.StatusCode, b, err)
	}
	if code, body := d.text("/debug/pprof/"); code == 200 && strings.Contains(body, "goroutine") {
		t.Errorf("the REST API serves profiles: %d %.200s", code, body)
	}
}
