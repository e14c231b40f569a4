// Package source is the directory of CUE files that describes a topology, as
// it stands on disk. A [Dir] reads the whole of it at one moment into a
// [Snapshot], and tells when its content has changed.
//
// It reads every *.cue file of the directory and of the directories in it
// (cue.mod and rules among them), and nothing else; names that begin with a
// dot are left out. It follows symbolic links to files, and to directories
// inside the topology directory, so that Kubernetes' ConfigMap volumes read as
// plain directories. It does not know what the files say: evaluating and
// judging them is the compiler's, and editing them that of package splice.
package source

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"time"
)

// Bounds of what is read. They are far above any topology that the compiler
// could evaluate, and stop a directory named by mistake.
const (
	maxFiles   = 20_000
	maxBytes   = 64 << 20
	maxDepth   = 32
	maxEntries = 500_000 // names looked at, of every kind
)

// Why a directory could not be read. Errors of [Dir.Snapshot] wrap one of
// these or the operating system's error, [io/fs.ErrPermission] for example.
var (
	ErrNoDir    = errors.New("no such directory")
	ErrNoCUE    = errors.New("no CUE files")
	ErrTooLarge = errors.New("too large for a topology")
	ErrLink     = errors.New("symbolic link cannot be followed")
	ErrUnstable = errors.New("files keep changing while they are read")
)

// Options of a [Dir]. The zero value is ready to use.
type Options struct {
	Log    *slog.Logger  // nil: no log
	Rescan time.Duration // how often Watch looks without being told; 0: 30 s

	// Step, if not nil, is called after each step of a replacement, with its
	// name: whoever tries what a crash there leaves, crashes there.
	Step func(what string)
}

// A Dir is a topology directory. Its methods may be called from several
// goroutines.
type Dir struct {
	path   string // absolute, symbolic links as given
	log    *slog.Logger
	rescan time.Duration

	writing sync.RWMutex // one replacement at a time, and no snapshot meanwhile
	step    func(what string)

	mu      sync.Mutex
	extra   map[string]string // absolute path -> state when last looked at
	poke    chan struct{}     // capacity 1: extra has changed
	written string            // revision after the last replacement
	used    map[string]bool   // directories that files were replaced in
}

// Open returns the directory at path. It need not exist yet: whether it can be
// read is for [Dir.Snapshot] to say, each time anew.
func Open(path string, opts Options) (*Dir, error) {
	if path == "" {
		return nil, fmt.Errorf("open topology directory: %w: the name is empty", ErrNoDir)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open topology directory %s: %w", path, err)
	}
	d := &Dir{path: abs, log: opts.Log, rescan: opts.Rescan, extra: map[string]string{}, poke: make(chan struct{}, 1),
		used: map[string]bool{}, step: opts.Step}
	if d.step == nil {
		d.step = func(string) {}
	}
	if d.log == nil {
		d.log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if d.rescan <= 0 {
		d.rescan = 30 * time.Second
	}
	return d, nil
}

// Path returns the directory's absolute path, to which the relative names of
// secret and certificate files in the source refer.
func (d *Dir) Path() string { return d.path }
