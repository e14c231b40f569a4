package command_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sendAs makes a request with a key, "key:secret", and returns what is answered;
// status 0 says that nothing was.
func (d *daemon) sendAs(method, path, key, body string) (int, string) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+d.http+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	name, sec, _ := strings.Cut(key, ":")
	req.SetBasicAuth(name, sec)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := d.api().Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(b)
}

// Whatever renews certificates does not restart clinkd.
func TestRESTCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	certs := t.TempDir()
	ca := issue(t, certs, "ca", "authority", nil)
	issue(t, certs, "rest", "rest", ca)
	file := func(name string) string { return filepath.Join(certs, name) }
	d := start(t, copyExample(t, "two-sites"), t.TempDir(), "--http-cert", file("rest.pem"), "--http-key", file("rest.key"))
	shown := func() string {
		c, err := tls.Dial("tcp", d.http, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	was := shown()
	replaceFile(t, file("rest.pem"), []byte("half of a certificate"))
	until(t, "the fault to be told", func() bool {
		if now := shown(); now != was {
			t.Fatalf("a certificate %s is shown while the file is broken", now)
		}
		return strings.Contains(d.log.String(), "cannot be used; the old one stays in use")
	})
	issue(t, certs, "rest", "rest", ca)
	until(t, "the new certificate", func() bool { return shown() != was })
}

func TestKeysAreReadAgainOnSIGHUP(t *testing.T) {
	// A SIGHUP must not end the test where the daemon is not ready for it.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hup) })
	keys := filepath.Join(t.TempDir(), "keys")
	replaceFile(t, keys, []byte("old:one\n"))
	d := start(t, copyExample(t, "two-sites"), t.TempDir(), "--api-keys", keys)
	look := func(text string) {
		replaceFile(t, keys, []byte(text))
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	is := func(key string, want int) func() bool {
		return func() bool { code, _ := d.sendAs("GET", "/sites", key, ""); return code == want }
	}
	look("new:two:viewer\n")
	until(t, "the new key to be let in", is("new:two", 200))
	until(t, "the old key to be turned away", is("old:one", 401))
	look("nonsense\n")
	until(t, "the fault to be told", func() bool { return strings.Contains(d.log.String(), "API keys could not be read again") })
	if !is("new:two", 200)() {
		t.Error("a broken file took a key away")
	}
	if strings.Contains(d.log.String(), "nonsense") {
		t.Error("what is in the file of keys is in the log")
	}
}

// repository makes the topology one, and returns how to ask git in it.
func repository(t *testing.T, dir string) func(args ...string) string {
	t.Helper()
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=A Human", "-c", "user.email=human@example.org"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "--quiet")
	git("add", "--all")
	git("commit", "--quiet", "--message", "begin")
	return git
}

// A hook that hangs does not hold up the end of the process, and costs neither
// the edit nor its commit.
func TestStopDuringACommit(t *testing.T) {
	t.Parallel()
	dir, data := copyExample(t, "two-sites"), t.TempDir()
	git := repository(t, dir)
	begun := filepath.Join(t.TempDir(), "begun")
	hook := filepath.Join(dir, ".git", "hooks", "pre-commit")
	replaceFile(t, hook, fmt.Appendf(nil, "#!/bin/sh\n: > '%s'\nexec tail -f /dev/null\n", begun))
	if err := os.Chmod(hook, 0o755); err != nil {
		t.Fatal(err)
	}
	d := start(t, dir, data, "--git-commit")
	if code, _ := d.text("/sites"); code != 200 { // for the key
		t.Fatal(code)
	}
	answered := make(chan string, 1)
	go func() {
		code, body := d.sendAs("PUT", "/sites/site-a/cluster/links/site-b", d.key, `{"name":"site-b","server":"`+d.server("site-a", "site-b")+`","username":"site-a","password":"file://secrets/site-a-to-site-b","topics":["global/#","more/#"]}`)
		answered <- fmt.Sprint(code, " ", body)
	}()
	until(t, "the hook to hang", func() bool { _, err := os.Stat(begun); return err == nil })
	began := time.Now()
	if code := d.stop(); code != 0 {
		t.Errorf("clinkd ended with %d", code)
	}
	// It gives up on the commit within some seconds, long before the time that a
	// commit has otherwise. How many more it takes is up to the machine.
	if took := time.Since(began); took > 25*time.Second {
		t.Errorf("clinkd took %v to stop", took)
	}
	<-answered
	if _, err := os.Stat(filepath.Join(dir, ".git", "index.lock")); err == nil {
		t.Error("git's lock is left")
	}
	if diff := git("diff", "--stat"); !strings.Contains(diff, "1 insertion(+), 1 deletion(-)") {
		t.Errorf("the edit is not in the files: %s", diff)
	}
	if err := os.Remove(hook); err != nil {
		t.Fatal(err)
	}
	start(t, dir, data, "--git-commit")
	until(t, "the next run to commit the edit", func() bool { return git("rev-list", "--count", "HEAD") == "2" })
	if left := git("status", "--porcelain"); left != "" {
		t.Errorf("git status says %s", left)
	}
}

// server is the address that a link is at.
func (d *daemon) server(site, peer string) string {
	d.t.Helper()
	var l struct{ Server string }
	d.get("/sites/"+site+"/cluster/links/"+peer, &l)
	return l.Server
}

// A write that cannot come into force is answered all the same, and why is told.
func TestAWriteBehindABrokenSourceTellsWhy(t *testing.T) {
	t.Parallel()
	d := startExample(t, "two-sites")
	server := d.server("site-a", "site-b")
	d.edit("site_b.cue", "package topology", "package topology // saved\n{")
	until(t, "the fault", func() bool {
		var s struct{ Held []struct{ Site string } }
		d.get("/status", &s)
		return len(s.Held) > 0
	})
	code, body := d.sendAs("PUT", "/sites/site-a/cluster/links/site-b", d.key, `{"name":"site-b","server":"`+server+`","username":"site-a","password":"file://secrets/site-a-to-site-b","topics":["global/#","more/#"]}`)
	if code != 200 || !strings.Contains(body, `"more/#"`) {
		t.Errorf("a write beside a file that does not parse: %d %s", code, body)
	}
}
