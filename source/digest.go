package source

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// maxDigested bounds what of a secret or certificate file goes into a digest;
// of a larger file its size counts too.
const maxDigested = 1 << 20

// Digest returns a digest of the contents of files, relative names of which
// are relative to base; the order and repetition of names do not count. A file
// that is missing or cannot be read gives a digest of its own, so that its
// coming and going is a change too. With no files it is "".
//
// It is derived from credentials: to be compared, never to be shown.
func Digest(base string, files []string) string {
	if len(files) == 0 {
		return ""
	}
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = joined(base, filepath.FromSlash(f))
	}
	slices.Sort(names)
	h := sha256.New()
	for _, name := range slices.Compact(names) {
		state := fileState(name)
		fmt.Fprintf(h, "%d %s %d %s ", len(name), name, len(state), state)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// fileState says in a word what there is to read at name.
func fileState(name string) string {
	info, err := os.Stat(name)
	if err != nil {
		return "absent: " + bare(err).Error()
	}
	if !info.Mode().IsRegular() {
		return "no regular file"
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "absent: " + bare(err).Error()
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, maxDigested)); err != nil {
		return "unreadable: " + bare(err).Error()
	}
	return fmt.Sprintf("%d bytes %x", info.Size(), h.Sum(nil))
}

// SetExtra names the secret and certificate files that Watch minds besides the
// CUE files, in place of those named before; relative names are relative to
// the directory. Call it before taking their [Digest]: a file that changes in
// between then wakes once too often, and never once too seldom.
func (d *Dir) SetExtra(files []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := make(map[string]string, len(files))
	for _, f := range files {
		name := joined(d.path, filepath.FromSlash(f))
		if _, ok := next[name]; ok {
			continue
		}
		state, known := d.extra[name]
		if !known {
			state = fileState(name)
		}
		next[name] = state
	}
	d.extra = next
	select {
	case d.poke <- struct{}{}:
	default:
	}
}

// extraChanged looks at every extra file and reports whether any is not as it
// was when last looked at.
func (d *Dir) extraChanged() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	changed := false
	for name, was := range d.extra {
		if now := fileState(name); now != was {
			d.extra[name], changed = now, true
		}
	}
	return changed
}

// extraNames returns the absolute paths of the extra files.
func (d *Dir) extraNames() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := make([]string, 0, len(d.extra))
	for name := range d.extra {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
