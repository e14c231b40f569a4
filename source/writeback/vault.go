package writeback

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"clink/internal/atomicfile"
	"clink/internal/secret"
	"clink/source"
	"clink/topology"
)

// hide takes credentials and certificates that came in clear out of the fields
// of a half: they become files, and the fields their references. Six asterisks
// mean what there is.
func (c *change) hide(want, current map[string]any, site, peer string) error {
	for _, place := range []struct {
		in   string
		name string
	}{{"", "password"}, {"", "password_hash"}, {"ssl", "password"}, {"inbound", "password"}} {
		fields, was := within(want, place.in), within(current, place.in)
		if fields == nil {
			continue
		}
		if err := c.hideSecret(fields, was, place.name, site, peer, strings.Trim(place.in+"-"+place.name, "-")); err != nil {
			return err
		}
	}
	ssl, was := within(want, "ssl"), within(current, "ssl")
	for _, name := range []string{"cacertfile", "certfile", "keyfile"} {
		text, _ := ssl[name].(string)
		if strings.Contains(text, "-----BEGIN ") {
			old, _ := was[name].(string)
			ssl[name] = c.vault.certificate(site, peer, strings.TrimSuffix(name, "file"), []byte(text), old)
		}
	}
	return nil
}

// within returns the fields of a part of a half, its own copy, nil if it has
// none.
func within(fields map[string]any, part string) map[string]any {
	if part == "" {
		return fields
	}
	m, ok := fields[part].(map[string]any)
	if !ok {
		return nil
	}
	m = maps.Clone(m)
	fields[part] = m
	return m
}

func (c *change) hideSecret(fields, was map[string]any, name, site, peer, what string) error {
	text, ok := fields[name].(string)
	if n, number := fields[name].(json.Number); number {
		text, ok = n.String(), true // as EMQX takes it
	}
	old, had := was[name].(string)
	switch {
	case !ok:
		return nil // not there, or for the schema to judge
	case text == "":
		delete(fields, name)
		return nil
	case text == secret.Redacted && had:
		fields[name] = old
		return nil
	case text == secret.Redacted:
		return refuse(Invalid, "%s of the link to %s is six asterisks, which stand for a credential that is kept, and the source has none there: give it, or a reference such as file://secrets/NAME, or leave the field out", what, peer)
	}
	if ref, err := secret.Parse(text); err != nil || !ref.IsLiteral() {
		return nil // the schema judges references that are none
	}
	if len(text) > secret.MaxSize {
		return refuse(Invalid, "%s of the link to %s has %d bytes: %d are the most", what, peer, len(text), secret.MaxSize)
	}
	if strings.TrimRight(text, secret.Trimmed) != text {
		return refuse(Invalid, "%s of the link to %s ends in white space, which is not kept at the end of the file that it would be put into: leave it out, or choose another", what, peer)
	}
	if name == "password_hash" && !secret.IsHash(text) {
		return refuse(Invalid, "%s of the link to %s is no bcrypt hash, such as htpasswd -nB makes: %s takes a password in clear", what, peer, strings.TrimSuffix(what, "_hash"))
	}
	if had && c.vault.is(old, text) {
		fields[name] = old
		return nil
	}
	suffix := strings.TrimSuffix(what, "password")
	fields[name] = c.vault.secret(site, peer, strings.Trim(suffix, "-"), []byte(text))
	return nil
}

// A vault puts credentials and certificates into files.
type vault struct {
	dir, base string            // absolute; base is the topology's
	planned   map[string][]byte // by absolute name: to be written
	written   []string
}

func newVault(dir, base string) *vault {
	return &vault{dir: dir, base: base, planned: map[string][]byte{}}
}

// is reports whether a value of the source is the credential in clear, or a
// reference to it.
func (v *vault) is(old, text string) bool {
	ref, err := secret.Parse(old)
	if err != nil || ref.IsRedacted() {
		return false
	}
	got, err := ref.Resolve(v.base)
	return err == nil && got == text
}

// secret plans a file and returns the reference to it.
func (v *vault) secret(site, peer, what string, text []byte) string {
	return "file://" + v.plan(strings.Trim(safe(site)+"-to-"+safe(peer)+"-"+what, "-"), "", text)
}

// certificate plans a file for PEM text and returns its name for the source,
// which is the old one if that holds the same.
func (v *vault) certificate(site, peer, what string, text []byte, old string) string {
	if old != "" {
		name := old
		if !filepath.IsAbs(name) {
			name = filepath.Join(v.base, filepath.FromSlash(name))
		}
		if v.holds(name, text) {
			return old
		}
	}
	return v.plan(safe(site)+"-to-"+safe(peer)+"-"+what, ".pem", text)
}

// plan finds a name that is free, or that holds the text already. A file that
// is there is never written to: the source that stands refers to it until the
// new one takes its place.
func (v *vault) plan(stem, ext string, text []byte) string {
	for n := 1; ; n++ {
		name := stem + ext
		if n > 1 {
			name = fmt.Sprintf("%s-%d%s", stem, n, ext)
		}
		at := filepath.Join(v.dir, name)
		if v.taken(at, text) {
			continue
		}
		if _, err := os.Lstat(at); errors.Is(err, fs.ErrNotExist) {
			v.planned[at] = text
		} else if !v.holds(at, text) {
			continue
		}
		if rel, err := filepath.Rel(v.base, at); err == nil && filepath.IsLocal(rel) {
			return filepath.ToSlash(rel)
		}
		return filepath.ToSlash(at)
	}
}

// taken reports whether another text is planned for the place, or for one that
// is the same on a file system that does not tell small letters from capitals.
func (v *vault) taken(at string, text []byte) bool {
	for other, planned := range v.planned {
		if strings.EqualFold(other, at) && (other != at || !bytes.Equal(planned, text)) {
			return true
		}
	}
	return false
}

// holds reports whether a file holds the text, white space at the end aside.
func (v *vault) holds(name string, text []byte) bool {
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() > int64(len(text))+64 {
		return false
	}
	got, err := os.ReadFile(name)
	return err == nil && bytes.Equal(bytes.TrimRight(got, secret.Trimmed), bytes.TrimRight(text, secret.Trimmed))
}

// safe is a site's name as a part of a file's name. There is no dot in it: the
// file may lie in the topology, where one that ends in .cue would be read.
func safe(name string) string {
	s := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, name)
	if len(s) > maxStem {
		s = s[:maxStem]
	}
	return s
}

// maxStem bounds a site's part in a file's name, of which there are two.
const maxStem = 100

// names are the files that are planned, in order.
func (v *vault) names() []string { return slices.Sorted(maps.Keys(v.planned)) }

// write makes the files, for their owner alone, and makes them last before
// anything refers to them. After an error none is left.
func (v *vault) write(step func(string)) error {
	if len(v.planned) == 0 {
		return nil
	}
	if err := v.ready(); err != nil {
		return source.WriteError(fmt.Errorf("make the directory of secrets: %w", err))
	}
	for _, name := range v.names() {
		err := atomicfile.Create(name, v.planned[name])
		if errors.Is(err, fs.ErrExist) { // somebody was faster
			err = fmt.Errorf("%w: %w", source.ErrStale, err)
		}
		if err != nil {
			return errors.Join(source.WriteError(fmt.Errorf("keep a credential: %w", err)), v.undo())
		}
		v.written = append(v.written, name)
		step("kept " + filepath.Base(name))
	}
	if err := atomicfile.SyncDir(v.dir); err != nil {
		return errors.Join(source.WriteError(fmt.Errorf("keep a credential: %w", err)), v.undo())
	}
	return nil
}

// ready makes the directory. One that is new keeps its files out of git.
func (v *vault) ready() error {
	if _, err := os.Stat(v.dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(v.dir, 0o700); err != nil {
		return err
	}
	err := os.WriteFile(filepath.Join(v.dir, ".gitignore"), []byte("*\n"), 0o644)
	return errors.Join(err, atomicfile.SyncDir(filepath.Dir(v.dir)))
}

// undo takes the files away that were written.
func (v *vault) undo() error {
	var errs []error
	for _, name := range v.written {
		errs = append(errs, os.Remove(name))
	}
	v.written = nil
	return errors.Join(errs...)
}

// halfDoneFor is how long nobody takes to make a file.
const halfDoneFor = time.Minute

// sweep removes what processes that were killed while they made a file left: it
// may be a credential.
func sweep(dir string, log *slog.Logger) {
	entries, _ := os.ReadDir(dir) // there need not be one yet
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !strings.HasPrefix(e.Name(), atomicfile.Unfinished) || time.Since(info.ModTime()) < halfDoneFor {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			log.Warn("a file that a killed process left half made cannot be removed; it may hold a credential", "file", filepath.Join(dir, e.Name()), "err", err)
		}
	}
}

// literals are the credentials that stand in the source itself.
func literals(t *topology.Topology) (all []string) {
	add := func(refs ...secret.Ref) {
		for _, r := range refs {
			if text, err := r.Resolve(""); r.IsLiteral() && err == nil {
				all = append(all, text)
			}
		}
	}
	for _, s := range t.Sites {
		add(s.Target.Secret)
		for _, l := range s.Links {
			add(l.Password, l.PasswordHash, l.SSL.Password)
			if l.Inbound != nil {
				add(l.Inbound.Password)
			}
		}
		for _, l := range s.Listeners {
			add(l.SSL.Password)
		}
		for _, u := range s.Access.Users {
			add(u.Password, u.PasswordHash)
		}
	}
	return all
}
