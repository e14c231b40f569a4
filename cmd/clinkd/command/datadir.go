package command

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"clink/httpapi"
	"clink/internal/atomicfile"
)

// lockSites takes the lock of each site's data directory and returns what
// gives them back. A lock ends with its process, however that ends.
func lockSites(dataDir string, sites []string) (unlock func(), err error) {
	var held []*os.File
	unlock = func() {
		for _, f := range held {
			f.Close()
		}
	}
	for _, site := range sites {
		dir := siteDir(dataDir, site)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			unlock()
			return nil, fmt.Errorf("data directory of site %s: %w", site, err)
		}
		f, err := lockSoon(filepath.Join(dir, "lock"))
		if errors.Is(err, errLocked) {
			unlock()
			return nil, fmt.Errorf("site %s is already run by another clinkd with the data directory %s: stop that one, or give this one its own --data-dir and ports", site, dataDir)
		}
		if err != nil {
			unlock()
			return nil, fmt.Errorf("lock the data directory of site %s: %w", site, err)
		}
		held = append(held, f)
	}
	return unlock, nil
}

var errLocked = errors.New("locked by another process")

// lockWait is how long a lock may outlive the process that had it: one that is
// killed while it starts git leaves a child that has the lock too, until the
// child has become git.
const lockWait = 2 * time.Second

// lockSoon is [lockFile], which it tries again while somebody has the lock.
func lockSoon(path string) (f *os.File, err error) {
	for end := time.Now().Add(lockWait); ; time.Sleep(20 * time.Millisecond) {
		if f, err = lockFile(path); !errors.Is(err, errLocked) || time.Now().After(end) {
			return f, err
		}
	}
}

// siteDir is where one site's state lives. Site names may hold characters
// that a path may not.
func siteDir(dataDir, site string) string {
	safe := strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' || r == ':' || r < ' ' {
			return '_'
		}
		return r
	}, site)
	if strings.HasPrefix(safe, ".") {
		safe = "_" + safe
	}
	return filepath.Join(dataDir, safe)
}

// apiKeys reads the keys from file, or where none is named from the data
// directory, making one there at the first start.
func apiKeys(file, dataDir string) (keys *httpapi.Keys, path string, err error) {
	path = file
	if file == "" {
		path = filepath.Join(dataDir, "api-key")
		if err := makeKey(path); err != nil {
			return nil, path, fmt.Errorf("make an API key: %w", err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, path, fmt.Errorf("read the API keys: %w", err)
	}
	if keys, err = httpapi.ParseKeys(b); err != nil {
		return nil, path, fmt.Errorf("API keys in %s: %w", path, err)
	}
	return keys, path, nil
}

// makeKey writes a fresh key to path unless there is one. The file appears
// whole or not at all, so two processes that start at once agree on it.
func makeKey(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key := fmt.Sprintf("clink-%s:%s\n", strings.ToLower(rand.Text()[:8]), rand.Text())
	if err := atomicfile.Create(path, []byte(key)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
