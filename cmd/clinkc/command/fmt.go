package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"clink/compiler"
	"clink/source"
)

// format lays out the CUE files of a topology, or standard input for "-", as
// cue fmt does, and lists those that it changed on standard output.
func (c Command) format(ctx context.Context, s subcommand, args []string) error {
	flags := newFlags()
	check := flags.Bool("check", false, "change nothing; list what would change, and exit with 1 if there is any")
	rest, err := c.parse(s, flags, args, 1)
	if err != nil {
		return helped(err)
	}
	if len(rest) > 0 && rest[0] == "-" {
		return c.formatStdin(*check)
	}
	base, _ := c.base(rest)
	snapshot, err := c.snapshot(ctx, rest)
	if err != nil {
		return err
	}
	changed, faults := 0, error(nil)
	for _, name := range snapshot.Files() {
		if ctx.Err() != nil {
			return fmt.Errorf("format the topology: %w", context.Cause(ctx))
		}
		differs, err := formatFile(snapshot, base, name, *check)
		if err != nil {
			fmt.Fprintf(c.Stderr, "clinkc: %v\n", err)
			faults = fmt.Errorf("not all files could be formatted")
			continue
		}
		if differs {
			changed++
			if err := c.print(name + "\n"); err != nil {
				return err
			}
		}
	}
	switch {
	case faults != nil:
		return faults
	case *check && changed > 0:
		return errFindings
	}
	return nil
}

// formatFile formats one file of a snapshot on disk, unless only asked whether
// it would change. The file keeps its mode; one that is a symbolic link stays
// one.
func formatFile(snapshot *source.Snapshot, base, name string, check bool) (differs bool, err error) {
	text, err := snapshot.ReadFile(name)
	if err != nil {
		return false, err
	}
	formatted, err := compiler.Format(name, text)
	if err != nil || bytes.Equal(text, formatted) {
		return false, err
	}
	if check {
		return true, nil
	}
	file := filepath.Join(base, filepath.FromSlash(name))
	err = rewrite(file, text, formatted)
	if errors.Is(err, errChanged) {
		// Two names of one file: it was formatted under the other one.
		if now, rerr := os.ReadFile(file); rerr == nil && bytes.Equal(now, formatted) {
			return false, nil
		}
	}
	return true, err
}

// rewrite puts text into the place of a file that holds old.
func rewrite(name string, old, text []byte) (err error) {
	f, err := supersede(name, old, text)
	if errors.Is(err, errChanged) {
		return fmt.Errorf("%w: run clinkc fmt again", err)
	} else if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.discard()) }()
	return f.commit()
}

// formatStdin is a filter. Only asked whether it would change, it prints its
// name if so, as for a file.
func (c Command) formatStdin(check bool) error {
	dir, _, err := c.readStdin()
	if err != nil {
		return err
	}
	text, err := fs.ReadFile(dir, stdinName)
	if err != nil {
		return err
	}
	formatted, err := compiler.Format(stdinName, text)
	switch {
	case err != nil:
		return err
	case !check:
		_, err := io.Copy(c.Stdout, bytes.NewReader(formatted))
		if err != nil {
			return fmt.Errorf("write to standard output: %w", err)
		}
	case !bytes.Equal(text, formatted):
		return errors.Join(c.print(stdinName+"\n"), errFindings)
	}
	return nil
}
