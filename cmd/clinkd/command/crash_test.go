package command_test

import (
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// load writes pairs and deletes them until the process is no more. It returns
// how many writes were answered, and the first answer that is none of those
// that there may be.
func (p *process) load(port string, round int, answered chan<- int) (n int, err error) {
	for ; ; n++ {
		select {
		case answered <- n:
		default:
		}
		body := fmt.Sprintf(`{"name":"site-c","server":"127.0.0.1:%s","topics":["new/%d"],"username":"u","password":"pw-%d-%d"}`, port, n, round, n)
		put := p.try("PUT", "/sites/site-a/cluster/links?pair=true", body)
		if put.err != nil {
			return n, nil
		}
		if put.code != 200 && put.code != 201 {
			return n, fmt.Errorf("PUT = %d %s", put.code, put.body)
		}
		if n%3 > 0 {
			continue
		}
		del := p.try("DELETE", "/sites/site-a/cluster/links/site-c?pair=true", "")
		if del.err != nil {
			return n, nil
		}
		if del.code != 204 {
			return n, fmt.Errorf("DELETE = %d %s", del.code, del.body)
		}
	}
}

var fileReference = regexp.MustCompile(`"file://([^"]+)"`)

// whole checks that what a crash left is one state of the source, and that
// every file that it refers to is there.
func whole(t *testing.T, dir string) {
	t.Helper()
	now, err := compiled(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	_, ours := now.Sites["site-a"].Link("site-c")
	_, theirs := now.Sites["site-c"].Link("site-a")
	if ours != theirs {
		t.Errorf("a half is there without the other: %v, %v", ours, theirs)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.cue"))
	if err != nil || len(files) != 3 {
		t.Fatalf("files %v, %v", files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range fileReference.FindAllStringSubmatch(string(b), -1) {
			if secret, err := os.ReadFile(filepath.Join(dir, m[1])); err != nil || len(secret) == 0 {
				t.Errorf("%s refers to %s, which holds %d bytes: %v", file, m[1], len(secret), err)
			}
		}
	}
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		secret := strings.HasPrefix(e.Name(), ".clink-new-") // swept a minute later
		if strings.HasPrefix(e.Name(), ".clink") && !secret || strings.HasSuffix(e.Name(), ".tmp") {
			t.Errorf("%s is left over", path)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// await tells when so many writes were answered, and then some time has passed.
func await(answered <-chan int, n int, more time.Duration) <-chan time.Time {
	c := make(chan time.Time, 1)
	go func() {
		for <-answered < n {
		}
		c <- <-time.After(more)
	}()
	return c
}

// Whenever the process is killed while it writes, the source is old or new.
func TestKillUnderWrites(t *testing.T) {
	t.Parallel()
	bin, dir, data := build(t), copyExample(t, "two-sites"), t.TempDir()
	port := thirdSite(t, dir)
	written := 0
	for round := range long(4, 60) {
		p := spawn(t, bin, dir, data, "site-a", "--site", "site-b", "--site", "site-c")
		whole(t, dir)
		type outcome struct {
			n   int
			err error
		}
		done, answered := make(chan outcome, 1), make(chan int)
		go func() {
			n, err := p.load(port, round, answered)
			done <- outcome{n, err}
		}()
		select {
		case <-await(answered, rand.IntN(8), time.Duration(rand.IntN(50))*time.Millisecond):
		case o := <-done:
			t.Fatalf("after %d writes: %v\n%s", o.n, o.err, p.log)
		}
		p.kill()
		o := <-done
		if o.err != nil {
			t.Fatal(o.err)
		}
		written += o.n
	}
	last := spawn(t, bin, dir, data, "site-a", "--site", "site-b", "--site", "site-c")
	whole(t, dir)
	last.online("site-a", "site-b")
	t.Logf("%d writes were answered before the kills", written)
}

// With a full disk a write is refused, and the source is as before.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	small := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", small).CombinedOutput(); err != nil {
		t.Skipf("no small file system can be mounted: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", small).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	from := copyExample(t, "two-sites")
	dir := filepath.Join(small, "topology")
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	d := start(t, dir, t.TempDir())
	t.Cleanup(func() { d.stop() }) // before the file system goes
	filler, err := os.Create(filepath.Join(small, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = filler.Write(make([]byte, 1024))
	}
	if err := filler.Close(); err != nil {
		t.Fatal(err)
	}
	before := d.sources()
	r := d.send(507, "PUT", "/sites/site-b/cluster/links/site-a", d.topicsBody("global/#", strings.Repeat("long/", 2000)))
	if !strings.Contains(r.body, `"code":"INSUFFICIENT_STORAGE"`) || !strings.Contains(r.body, "no space left") {
		t.Errorf("answered %s", r.body)
	}
	r = d.send(507, "PUT", "/sites/site-b/cluster/links/site-a", strings.Replace(d.topicsBody("global/#"), "file://secrets/site-b-to-site-a", strings.Repeat("x", 20000), 1))
	if !strings.Contains(r.body, `"code":"INSUFFICIENT_STORAGE"`) {
		t.Errorf("answered %s", r.body)
	}
	if after := d.sources(); !maps.Equal(after, before) {
		t.Errorf("the source is\n%v\nbefore:\n%v", after, before)
	}
	if err := os.Remove(filler.Name()); err != nil {
		t.Fatal(err)
	}
	d.putTopics("global/#", "room/#")
}

// A source that cannot be written, such as a mounted ConfigMap, says so.
func TestReadOnlySource(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		readOnlyMount(t)
		return
	}
	dir := copyExample(t, "two-sites")
	d := start(t, dir, t.TempDir())
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o700) })
	d.refusesAsReadOnly()
}

func readOnlyMount(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("root can write everything")
	}
	dir := copyExample(t, "two-sites")
	d := start(t, dir, t.TempDir())
	for _, args := range [][]string{{"--bind", dir, dir}, {"-o", "remount,ro,bind", dir}} {
		if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
			t.Skipf("nothing can be mounted read-only: %v: %s", err, out)
		}
		if args[0] == "--bind" {
			t.Cleanup(func() {
				d.stop()
				if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
					t.Errorf("umount: %v: %s", err, out)
				}
			})
		}
	}
	d.refusesAsReadOnly()
}

func (d *daemon) refusesAsReadOnly() {
	d.t.Helper()
	before := d.sources()
	r := d.send(409, "PUT", "/sites/site-b/cluster/links/site-a", d.topicsBody("global/#", "ro/#"))
	if !strings.Contains(r.body, `"code":"READ_ONLY"`) || !strings.Contains(r.body, "change the links where the source is written") {
		d.t.Errorf("answered %s", r.body)
	}
	r = d.send(409, "PUT", "/sites/site-b/cluster/links/site-a", strings.Replace(d.topicsBody("global/#"), "file://secrets/site-b-to-site-a", "another", 1))
	if !strings.Contains(r.body, `"code":"READ_ONLY"`) {
		d.t.Errorf("with a password: %s", r.body)
	}
	if after := d.sources(); !maps.Equal(after, before) {
		d.t.Errorf("the source is\n%v\nbefore:\n%v", after, before)
	}
	// What changes nothing needs no disk.
	d.putTopics("global/#")
}
