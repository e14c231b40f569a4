package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"clink/compiler"
	"clink/diagnostic"
	"clink/internal/pki"
	"clink/internal/secret"
	"clink/source"
)

// A loaded topology is what the source says, and what the compiler says of it.
type loaded struct {
	*compiler.Result
	revision string
}

// A loading says how a source is to be looked at. The zero value is good.
type loading struct {
	timeout  time.Duration    // 0: the compiler's
	secrets  bool             // look for credentials and files of the host
	here     names            // the sites whose credentials are looked for; nil: all
	previous *compiler.Result // of the same directory at an earlier time
}

// load reads and compiles the directory that a command line names, or one file
// from standard input for "-".
func (c Command) load(ctx context.Context, args []string, how loading) (*loaded, error) {
	files, revision, err := c.read(ctx, args)
	if err != nil {
		return nil, err
	}
	return c.compile(ctx, files, revision, args, how)
}

func (c Command) compile(ctx context.Context, files fs.FS, revision string, args []string, how loading) (*loaded, error) {
	opts := compiler.Options{Now: time.Now(), Timeout: how.timeout, Previous: how.previous, Here: how.here}
	if base, ok := c.base(args); ok {
		opts.ReadFile = func(name string) ([]byte, error) { return pki.ReadFile(base, name) }
		if how.secrets {
			opts.Secret = func(r secret.Ref) error {
				_, err := r.Resolve(base)
				return err
			}
		}
	}
	result, err := compiler.Compile(ctx, files, opts)
	if err != nil {
		return nil, fmt.Errorf("compile the topology: %w", err)
	}
	return &loaded{result, revision}, nil
}

// base is the directory that file names in the source are relative to; what
// comes from standard input has none.
func (c Command) base(args []string) (string, bool) {
	switch {
	case len(args) == 0:
		return c.path("."), true
	case args[0] == "-":
		return "", false
	}
	return c.path(args[0]), true
}

func (c Command) read(ctx context.Context, args []string) (fs.FS, string, error) {
	if len(args) > 0 && args[0] == "-" {
		return c.readStdin()
	}
	snapshot, err := c.snapshot(ctx, args)
	if err != nil {
		return nil, "", err
	}
	return snapshot, snapshot.Revision, nil
}

// snapshot reads the files of the directory that a command line names.
func (c Command) snapshot(ctx context.Context, args []string) (*source.Snapshot, error) {
	dir, shown, err := c.open(args)
	if err != nil {
		return nil, err
	}
	return look(ctx, dir, shown)
}

// open returns the directory that a command line names, and its name as the
// user knows it.
func (c Command) open(args []string) (*source.Dir, string, error) {
	name := "."
	if len(args) > 0 {
		name = args[0]
	}
	path := c.path(name)
	if err := checkDir(name, path); err != nil {
		return nil, "", err
	}
	dir, err := source.Open(path, source.Options{})
	return dir, path, err
}

func look(ctx context.Context, dir *source.Dir, shown string) (*source.Snapshot, error) {
	snapshot, err := dir.Snapshot(ctx)
	if errors.Is(err, source.ErrNoCUE) {
		return nil, fmt.Errorf("%s holds no CUE files: name the topology directory, the one with the files that say \"package topology\"; clinkc init writes one", shown)
	}
	return snapshot, err
}

// checkDir says what is wrong with a name that is no directory, in words that
// fit the likely slip.
func checkDir(name, path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: no such directory: name the topology directory", path)
	case err != nil:
		return fmt.Errorf("read the topology directory: %w", err)
	case !info.IsDir():
		return usageError{fmt.Errorf("%s is a file: name the directory that holds it", name), ""}
	}
	return nil
}

// report is l in the form in which findings are printed.
func (l *loaded) report() diagnostic.Report {
	return diagnostic.Report{
		Revision: l.revision,
		Findings: l.Findings,
		Waived:   l.Waived,
		Sites:    len(l.Topology.Sites),
		Links:    l.Topology.Links(),
		Sources:  l.Sources,
		Names:    l.Topology.Names(),
	}
}
