package command_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// The lock of a process that was killed may last a moment longer than it: whoever
// starts clinkd again at once must not be told that another one runs.
func TestLockThatIsGivenUpSoon(t *testing.T) {
	dir, data := copyExample(t, "two-sites"), t.TempDir()
	site := filepath.Join(data, "site-a")
	if err := os.Mkdir(site, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(site, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(300*time.Millisecond, func() { f.Close() })
	start(t, dir, data)
}
