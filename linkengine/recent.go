package linkengine

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"clink/internal/atomicfile"
)

// What is known of the last QoS 2 messages outlives a clean stop, in a file: a
// peer sends again what it was not told to have arrived, and the sessions here
// may have got it. It is only done where the node keeps those, and not when the
// process dies: then it is not known which messages are in the store, and to
// take one for repeated that is not would lose it.

const recentMark = "clink ids 1\n"

func (l *link) recentFile() string {
	return filepath.Join(l.opts.DataDir, "received", "from-"+url.PathEscape(l.peer))
}

func (l *link) keepRecent() error {
	if l.opts.DataDir == "" || !l.opts.Node.Keeps() {
		return nil
	}
	ids := l.recent.all()
	if len(ids) == 0 {
		return nil
	}
	file := l.recentFile()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("keep the ids of received messages: %w", err)
	}
	sum := crc32.ChecksumIEEE(ids)
	text := fmt.Sprintf("%s%08x\n%s", recentMark, sum, ids)
	if err := atomicfile.Replace(file, []byte(text)); err != nil {
		return fmt.Errorf("keep the ids of received messages: %w", err)
	}
	return nil
}

// restoreRecent reads and removes the file: what it says is true of the life
// that begins now.
func (l *link) restoreRecent() {
	if l.opts.DataDir == "" {
		return
	}
	file := l.recentFile()
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = l.recent.restore(text)
	}
	if err = errors.Join(err, os.Remove(file)); err != nil {
		l.fault(l.peer, "the ids of received messages cannot be read: QoS 2 messages may come twice", "err", err.Error())
	}
}

func (l *link) dropRecent() {
	if l.opts.DataDir != "" {
		os.Remove(l.recentFile())
	}
}

// all returns the ids, the oldest first, one behind the other.
func (r *recent) all() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]byte, 0, 16*len(r.ring))
	for i := range r.ring {
		id := r.ring[(r.next+i)%len(r.ring)]
		out = append(out, id[:]...)
	}
	return out
}

// restore takes over what all returned, in its file.
func (r *recent) restore(text []byte) error {
	head := len(recentMark) + len("00000000\n")
	if len(text) < head || string(text[:len(recentMark)]) != recentMark || (len(text)-head)%16 != 0 || len(text)-head > 16*recentIDs {
		return errors.New("the file is none of clink's")
	}
	ids := text[head:]
	if fmt.Sprintf("%08x\n", crc32.ChecksumIEEE(ids)) != string(text[len(recentMark):head]) {
		return errors.New("the file is damaged")
	}
	for ; len(ids) > 0; ids = ids[16:] {
		r.seen([16]byte(ids))
	}
	return nil
}
