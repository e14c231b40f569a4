package command_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// home holds what the tests share, and goes with them.
var home string

// TestMain gives git a configuration of its own, so that the tests see neither
// that of whoever runs them nor the repository they run in.
func TestMain(m *testing.M) {
	moreAtOnce()
	var err error
	if home, err = os.MkdirTemp("", "clinkd-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "GIT_") || name == "EMAIL" {
			os.Unsetenv(name)
		}
	}
	config := filepath.Join(home, "gitconfig")
	err = errors.Join(
		os.WriteFile(config, []byte("[user]\n\tname = Olga Operator\n\temail = olga@example.org\n[init]\n\tdefaultBranch = main\n[gc]\n\tauto = 0\n"), 0o600),
		os.Setenv("GIT_CONFIG_GLOBAL", config), os.Setenv("GIT_CONFIG_NOSYSTEM", "1"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(home)
		os.Exit(code)
	}))
}

// moreAtOnce runs more parallel tests at once than there are processors, unless
// the command line says how many: most of their time they wait, for a daemon, a
// link or a page.
func moreAtOnce() {
	flag.Parse()
	const name, atOnce = "test.parallel", 4
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == name })
	if !said && runtime.GOMAXPROCS(0) < atOnce {
		_ = flag.Set(name, strconv.Itoa(atOnce))
	}
}

// A reply is what came of one request.
type reply struct {
	code   int
	body   string
	header http.Header
	err    error
}

// try makes one request with the daemon's key; what it sends and gets is held
// against the OpenAPI document. It may be called from several goroutines.
func (d *daemon) try(method, path, body string, headers ...string) (r reply) {
	req, err := http.NewRequestWithContext(d.t.Context(), method, "http://"+d.http+path, strings.NewReader(body))
	if err != nil {
		return reply{err: err}
	}
	d.authorize(req)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if req.Header.Set(headers[i], headers[i+1]); headers[i+1] == "" {
			req.Header.Del(headers[i])
		}
	}
	res, err := d.api().Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, string(b), res.Header, err}
}

// send is try that must be answered with the code.
func (d *daemon) send(code int, method, path, body string, headers ...string) reply {
	d.t.Helper()
	r := d.try(method, path, body, headers...)
	if r.err != nil || r.code != code {
		d.t.Fatalf("%s %s = %d %s %v, want %d", method, path, r.code, r.body, r.err, code)
	}
	return r
}

// A written is what the tests read of a write's answer.
type written struct {
	link
	Findings []struct {
		Rule, Message string
		Pos           struct {
			File         string
			Line, Column int
		}
		Related []struct {
			Pos struct {
				File string
				Line int
			}
		}
	}
	Halves []struct{ Site, State string }
}

func (r reply) written(t *testing.T) (w written) {
	t.Helper()
	r.decode(t, &w)
	return w
}

func (r reply) decode(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.body), into); err != nil {
		t.Fatalf("%v in %s", err, r.body)
	}
}

// states are the halves of an answer in short.
func (w written) states() string {
	var l []string
	for _, h := range w.Halves {
		l = append(l, h.Site+" "+h.State)
	}
	return strings.Join(l, ", ")
}

// rules are the findings of an answer in short.
func (w written) rules() string {
	var l []string
	for _, f := range w.Findings {
		l = append(l, fmt.Sprintf("%s at %s:%d", f.Rule, f.Pos.File, f.Pos.Line))
	}
	return strings.Join(l, ", ")
}

// linkBody is a link as JSON.
func linkBody(t *testing.T, fields map[string]any) string {
	t.Helper()
	b, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sources returns every CUE file and secret of the topology with its content
// and when it was written, to be compared.
func (d *daemon) sources() map[string]string {
	d.t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(d.dir, func(path string, e os.DirEntry, err error) error {
		if e != nil && e.IsDir() && e.Name() == ".git" {
			return filepath.SkipDir
		}
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(d.dir, path)
		all[rel] = fmt.Sprintf("%s %s", info.ModTime(), b)
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return all
}

// A work is a git work tree.
type work struct {
	t   *testing.T
	dir string
}

// commitAll makes the topology a repository with one commit.
func commitAll(t *testing.T, dir string) work {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git program: what clinkd does with one is not tested here")
	}
	w := work{t, dir}
	if err := os.WriteFile(filepath.Join(dir, ".gitignore"), []byte("/secrets/\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	w.git("init", "-q", "-b", "main")
	w.git("add", ".")
	w.git("commit", "-q", "-m", "begin")
	return w
}

// git runs git and returns what it prints, without the last newline.
func (w work) git(args ...string) string {
	w.t.Helper()
	out, err := w.try(args...)
	if err != nil {
		w.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSuffix(out, "\n")
}

func (w work) try(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "GIT_EDITOR=true", "LC_ALL=C")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}
