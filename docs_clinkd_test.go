package clink_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clinkd "clink/cmd/clinkd/command"
	"clink/httpapi"
)

// The pages on clinkd, each in its language.
var (
	clinkdPages = []string{"docs/clinkd.md", "docs/clinkd.zh.md"}
	restPages   = []string{"docs/rest.md", "docs/rest.zh.md"}
)

// noEnv is an environment without variables.
func noEnv(string) string { return "" }

// inPages checks that each page has each of some words in code, which there are.
func inPages(t *testing.T, pages, words []string, least int) {
	t.Helper()
	if len(words) < least {
		t.Fatalf("only %d are looked for: %q", len(words), words)
	}
	for _, page := range pages {
		var code []string
		for _, m := range inTicks.FindAllStringSubmatch(fence.ReplaceAllString(contents(t, page), ""), -1) {
			code = append(code, strings.Fields(m[1])...)
		}
		for _, w := range words {
			if !slices.Contains(code, w) {
				t.Errorf("%s says nothing of %s", page, w)
			}
		}
	}
}

// Each flag of clinkd run is described.
func TestDocsHaveClinkdsFlags(t *testing.T) {
	var out bytes.Buffer
	c := clinkd.Command{Stdout: &out, Stderr: &out, Getenv: noEnv}
	if code := c.Run(t.Context(), []string{"run", "-h"}); code != 0 {
		t.Fatalf("exit code %d: %s", code, &out)
	}
	var flags []string
	for _, m := range regexp.MustCompile(`(?m)^  (--\S+)`).FindAllStringSubmatch(out.String(), -1) {
		flags = append(flags, m[1])
	}
	inPages(t, clinkdPages, flags, 14)
}

// Each path and each code of an error of the OpenAPI document is mentioned.
func TestDocsHaveTheAPI(t *testing.T) {
	var doc struct {
		Paths      map[string]any
		Components struct {
			Schemas struct {
				Code struct{ Enum []string }
			}
		}
	}
	if err := json.Unmarshal(httpapi.Document(), &doc); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for path := range doc.Paths {
		paths = append(paths, path)
	}
	inPages(t, restPages, paths, 20)
	inPages(t, restPages, doc.Components.Schemas.Code.Enum, 15)
}

// A lockedBuffer is written and read at once.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// runClinkd runs clinkd over a topology in this process until the test ends,
// and returns the address of its REST API.
func runClinkd(t *testing.T, topology, data string, flags ...string) string {
	t.Helper()
	ready, ended := make(chan string, 1), make(chan int, 1)
	var out lockedBuffer
	c := clinkd.Command{Stdout: &out, Stderr: &out, Getenv: noEnv, Ready: func(addr string) { ready <- addr }}
	ctx, stop := context.WithCancel(context.Background())
	args := append([]string{"run", "--http", "127.0.0.1:0", "--data-dir", data}, flags...)
	go func() { ended <- c.Run(ctx, append(args, topology)) }()
	t.Cleanup(func() {
		stop()
		<-ended
		if t.Failed() {
			t.Log(out.String())
		}
	})
	select {
	case addr := <-ready:
		return addr
	case <-time.After(patience):
		t.Fatalf("clinkd is not ready: %s", out.String())
	}
	return ""
}

// answered is what a GET answers, with the key in a data directory.
func answered(t *testing.T, addr, data, path string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	name, secret, _ := strings.Cut(strings.TrimSpace(contents(t, filepath.Join(data, "api-key"))), ":")
	req.SetBasicAuth(name, secret)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// ownPorts gives each loopback port in the CUE files of a topology a free one
// in its stead, and returns them by those that they stand for.
func ownPorts(t *testing.T, dir string) map[string]string {
	t.Helper()
	ports := map[string]string{}
	files, err := filepath.Glob(filepath.Join(dir, "*.cue"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no CUE files in %s: %v", dir, err)
	}
	for _, file := range files {
		text := loopbackPort.ReplaceAllStringFunc(contents(t, file), func(addr string) string {
			if ports[addr] == "" {
				ports[addr] = "127.0.0.1:" + freePort(t.Cleanup, t.Fatalf)
			}
			return ports[addr]
		})
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return ports
}

// Each metric at /metrics is listed, and so are those that need something to
// have gone wrong.
func TestDocsHaveTheMetrics(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "two-sites")
	if err := os.CopyFS(dir, os.DirFS("examples/topologies/two-sites")); err != nil {
		t.Fatal(err)
	}
	ownPorts(t, dir)
	data := t.TempDir()
	text := answered(t, runClinkd(t, dir, data), data, "/metrics")
	metrics := []string{"clinkd_held_back", "clink_link_dropped_total"}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (clinkd?_\w+)`).FindAllStringSubmatch(text, -1) {
		metrics = append(metrics, m[1])
	}
	inPages(t, clinkdPages, metrics, 20)
}

var shellBlock = regexp.MustCompile("(?ms)^```(sh|text)\n(.*?)^```$")

// The commands of the READMEs for an incident do what the READMEs show.
func TestReadmeIncident(t *testing.T) {
	for _, page := range []string{"README.md", "README.zh.md"} {
		t.Run(page, func(t *testing.T) {
			const mark = "== end of a block"
			var script strings.Builder
			var want []string
			for _, b := range shellBlock.FindAllStringSubmatch(contents(t, page), -1) {
				if b[1] == "text" {
					want = append(want, b[2])
				} else {
					script.WriteString(b[2] + "echo '" + mark + "'\n")
				}
			}
			got := strings.Split(tryOut(t, script.String()), mark+"\n")
			if len(want) < 4 || len(got) != len(want)+1 {
				t.Fatalf("%d blocks of output are shown, %d are printed: %q", len(want), len(got)-1, got)
			}
			for i := range want {
				if got, want := strings.TrimRight(got[i], "\n"), strings.TrimRight(want[i], "\n"); got != want {
					t.Errorf("the commands print\n%s\nand the page shows\n%s", got, want)
				}
			}
		})
	}
}

// The commands of the pages on REST succeed.
func TestDocsOnREST(t *testing.T) {
	for _, page := range restPages {
		t.Run(page, func(t *testing.T) {
			script := "curl() { command curl --fail \"$@\"; echo; }\n"
			blocks := shellBlock.FindAllStringSubmatch(contents(t, page), -1)
			for _, b := range blocks {
				script += b[2]
			}
			out := tryOut(t, script)
			if len(blocks) != 4 || !strings.Contains(out, `"alarm/#"`) || !strings.Contains(out, `"ok":true`) || !strings.Contains(out, "their maintenance") {
				t.Errorf("%d blocks print\n%s", len(blocks), out)
			}
		})
	}
}

// tryOut runs a script that is about two-sites in a checkout, and returns what
// it prints. The ports are other ones meanwhile.
func tryOut(t *testing.T, script string) string {
	t.Helper()
	for _, tool := range []string{"sh", "curl", "jq", "git"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the commands need %s", tool)
		}
	}
	checkout, home := t.TempDir(), t.TempDir()
	topology := filepath.Join(checkout, "examples", "topologies", "two-sites")
	if err := os.CopyFS(topology, os.DirFS("examples/topologies/two-sites")); err != nil {
		t.Fatal(err)
	}
	there := ownPorts(t, topology)
	shell(t, checkout, home, "git init -q && git add -f . && git -c user.name=t -c user.email=t@localhost commit -qm begin")
	data := filepath.Join(home, ".local", "state", "clink", "two-sites-0")
	addr := runClinkd(t, topology, data)
	there["127.0.0.1:18083"], there["127.0.0.1:1885"] = addr, "127.0.0.1:"+freePort(t.Cleanup, t.Fatalf)
	tick, end := time.NewTicker(20*time.Millisecond), time.Now().Add(patience)
	defer tick.Stop()
	for !strings.Contains(answered(t, addr, data, "/sites/site-a/cluster/links"), `"replication":{"state":"online"`) {
		if <-tick.C; time.Now().After(end) {
			t.Fatal("the link does not come up")
		}
	}
	var to, back []string
	for shown, real := range there {
		to, back = append(to, shown, real), append(back, real, shown)
	}
	return strings.NewReplacer(back...).Replace(shell(t, checkout, home, strings.NewReplacer(to...).Replace(script)))
}

// shell runs a script and returns what it prints.
func shell(t *testing.T, dir, home, script string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-eu", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+home, "GIT_CONFIG_GLOBAL="+os.DevNull)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}
