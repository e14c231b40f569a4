package command

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// maxRevision bounds the CUE files of a revision, in bytes.
const maxRevision = 64 << 20

// loadRevision reads and compiles the directory that a command line names as it
// is in a revision of the git repository around it. The files lie in a
// directory of their own while they are read.
func (c Command) loadRevision(ctx context.Context, rev string, args []string, timeout time.Duration) (l *loaded, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	dir, _ := c.base(args)
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, fmt.Errorf("read revision %s: git: names a revision, which needs the git program: %w", rev, err)
	}
	id, err := commitOf(ctx, git, dir, rev)
	if err != nil {
		return nil, err
	}
	aside, err := os.MkdirTemp("", "clinkc-")
	if err != nil {
		return nil, fmt.Errorf("read revision %s: %w", rev, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(aside)) }()
	if err := unpack(ctx, exec.CommandContext(ctx, git, "-C", dir, "archive", "--format=tar", id), aside); err != nil {
		return nil, fmt.Errorf("read revision %s of %s: %w", rev, dir, err)
	}
	files, revision, err := c.read(ctx, []string{abs(aside)})
	if err != nil {
		return nil, fmt.Errorf("read revision %s of %s: %w", rev, dir, err)
	}
	return c.compile(ctx, files, revision, []string{"-"}, loading{timeout: timeout})
}

// abs is name whatever -C says.
func abs(name string) string {
	if full, err := filepath.Abs(name); err == nil {
		return full
	}
	return name
}

// commitOf returns the id of a commit, which cannot be taken for a flag.
func commitOf(ctx context.Context, git, dir, rev string) (string, error) {
	var told bytes.Buffer
	cmd := exec.CommandContext(ctx, git, "-C", dir, "rev-parse", "--verify", "--end-of-options", rev+"^{commit}")
	cmd.Stderr = &told
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("find revision %q in the git repository around %s: %w", rev, dir, said(err, &told))
	}
	return strings.TrimSpace(string(out)), nil
}

// said is git's last word on an error.
func said(err error, told *bytes.Buffer) error {
	lines := strings.Split(strings.TrimSpace(told.String()), "\n")
	switch last := strings.TrimPrefix(lines[len(lines)-1], "fatal: "); last {
	case "":
		return err
	case "Needed a single revision":
		return errors.New("git knows no such commit")
	case "current working directory is untracked":
		return errors.New("the directory is not in it")
	default:
		return errors.New(last)
	}
}

// unpack writes the CUE files of the archive that a program prints into dir.
func unpack(ctx context.Context, cmd *exec.Cmd, dir string) error {
	var told bytes.Buffer
	cmd.Stderr = &told
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = writeFiles(tar.NewReader(out), dir)
	if err != nil {
		// It would wait for a reader for ever.
		_ = cmd.Process.Kill()
	} else {
		_, err = io.Copy(io.Discard, out)
	}
	switch ended := cmd.Wait(); {
	case ctx.Err() != nil:
		return ctx.Err()
	case told.Len() > 0 && ended != nil:
		return said(ended, &told)
	case err != nil:
		return err
	default:
		return ended
	}
}

func writeFiles(archive *tar.Reader, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	left := int64(maxRevision)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg || !strings.HasSuffix(h.Name, ".cue") {
			continue
		}
		if left -= h.Size; left < 0 {
			return fmt.Errorf("its CUE files hold more than %d bytes", maxRevision)
		}
		if err := writeFile(root, filepath.FromSlash(h.Name), archive); err != nil {
			return err
		}
	}
}

func writeFile(root *os.Root, name string, r io.Reader) error {
	if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
