package command_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
)

// The names that the REST API answers to, and one that it does not.
func TestHostsOfTheAPI(t *testing.T) {
	t.Parallel()
	d := start(t, copyExample(t, "two-sites"), t.TempDir(), "--http-host", "clink.example.net")
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{d.http: 401, "clink.example.net": 401, strings.ToLower(own) + ":1": 401, "evil.example": 421} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+d.http+"/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		res, err := d.api().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("Host: %s = %d, want %d", host, res.StatusCode, want)
		}
	}
}
