package secret_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clink/internal/secret"
)

func mustParse(t *testing.T, s string) secret.Ref {
	t.Helper()
	r, err := secret.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLiteralNeverShows(t *testing.T) {
	const hidden = "hunter2"
	r := mustParse(t, hidden)
	js, err := json.Marshal(map[string]any{"password": r, "p": &r})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "ref", r, "in", struct{ R secret.Ref }{r})
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "ref", r, "in", struct{ R secret.Ref }{r})
	all := fmt.Sprintf("%v %+v %#v %s %q %x %v %+v", r, r, r, r, r, r, []secret.Ref{r}, struct{ R secret.Ref }{r}) + string(js) + log.String()
	if strings.Contains(all, hidden) || strings.Contains(all, fmt.Sprintf("%x", hidden)) {
		t.Errorf("the literal shows in %s", all)
	}
}

func TestResolve(t *testing.T) {
	base := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(base, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("good", "s3cret \n\n")
	write("empty", " \n")
	write("huge", strings.Repeat("x", secret.MaxSize+1))
	t.Setenv("CLINK_TEST_SECRET", "from-env")
	tests := []struct{ name, ref, want, err string }{
		{"relative file", "file://good", "s3cret", ""},
		{"absolute file", "file://" + filepath.Join(base, "good"), "s3cret", ""},
		{"environment", "env://CLINK_TEST_SECRET", "from-env", ""},
		{"literal", "plain", "plain", ""},
		{"missing file", "file://nope", "", "no such file"},
		{"empty file", "file://empty", "", "is empty"},
		{"directory", "file://.", "", "not a regular file"},
		{"huge file", "file://huge", "", "larger than"},
		{"unset variable", "env://CLINK_TEST_NOT_SET", "", "is not set"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := mustParse(t, tt.ref).Resolve(base)
			if got != tt.want {
				t.Errorf("Resolve = %q, want %q", got, tt.want)
			}
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Resolve error = %v, want %q", err, tt.err)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, s := range []string{"file://", "file:///", "env://", "env://A=B"} {
		if r, err := secret.Parse(s); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", s, r)
		}
	}
}

func TestFile(t *testing.T) {
	for ref, want := range map[string]string{"file://s/a": "/base/s/a", "file:///x/a": "/x/a", "env://A": "", "lit": ""} {
		if got := mustParse(t, ref).File("/base"); got != want {
			t.Errorf("File of %q = %q, want %q", ref, got, want)
		}
	}
}

func TestGobKeepsTheText(t *testing.T) {
	for _, text := range []string{"hunter2", "file://s/a", "env://A", ""} {
		r := mustParse(t, text)
		var b bytes.Buffer
		var back struct{ R secret.Ref }
		if err := gob.NewEncoder(&b).Encode(struct{ R secret.Ref }{r}); err != nil {
			t.Fatal(err)
		}
		if err := gob.NewDecoder(&b).Decode(&back); err != nil || back.R != r {
			t.Errorf("%q came back as %v, %v", text, back.R, err)
		}
	}
	var r secret.Ref
	if err := r.GobDecode([]byte("env://")); err == nil {
		t.Error("GobDecode takes what Parse refuses")
	}
}
