package command

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"clink/compiler"
	"clink/internal/secret"
	"clink/source"
	"clink/topology"
)

// watch checks the directory, and again after every change in it, until ctx
// ends. A tree that cannot be read for a while is told and waited for; one whose
// evaluation does not end in time ends the watching. What changed since the last
// verdict is all that is evaluated anew. The files that the source names are
// watched too.
//
// The exit code is that of the last verdict, so that it is the same as if vet
// had been run at the end without watching.
func (c Command) watch(ctx context.Context, o *vetOptions, args []string) error {
	name := "."
	if len(args) > 0 {
		name = args[0]
	}
	if err := checkDir(name, c.path(name)); err != nil {
		return err
	}
	dir, err := source.Open(c.path(name), source.Options{})
	if err != nil {
		return err
	}
	wake := make(chan struct{}, 1)
	wake <- struct{}{}
	watching := make(chan error, 1)
	ctx, stop := context.WithCancel(ctx)
	go func() {
		defer stop() // without it nothing would come any more
		watching <- dir.Watch(ctx, func() {
			select {
			case wake <- struct{}{}:
			default:
			}
		})
	}()
	last := c.verdicts(ctx, o, args, &watched{dir: dir}, wake)
	stop()
	if err := <-watching; err != nil {
		return err
	}
	return last
}

// A watched directory is watched together with the files that its source names
// and vet looks into.
type watched struct {
	dir   *source.Dir
	files []string
}

// loadWatched loads the source, and returns a digest of the files that it names.
// What it names for the first time is watched and then looked at once more, so
// that no change of it falls between.
func (c Command) loadWatched(ctx context.Context, o *vetOptions, args []string, how loading, w *watched) (*loaded, string, error) {
	var phases []compiler.Phase // of the first look: those of the next say little
	for {
		state := source.Digest(w.dir.Path(), w.files)
		l, err := c.load(ctx, args, how)
		if err != nil {
			return nil, "", err
		}
		files := o.lookedInto(l.Topology, w.dir.Path())
		if phases == nil {
			phases = l.Phases
		}
		if slices.Equal(files, w.files) {
			l.Phases = phases
			return l, state, nil
		}
		w.files, how.previous = files, l.Result
		w.dir.SetExtra(files)
	}
}

// lookedInto are the files that vet reads besides the source: certificates and
// their keys, and with --secrets also those that only the host has, and the
// credentials.
func (o *vetOptions) lookedInto(t *topology.Topology, base string) []string {
	var l []string
	for _, s := range t.Sites {
		here := o.secrets && (len(o.sites) == 0 || slices.Contains(o.sites, s.Name))
		add := func(tls topology.TLS, secrets ...secret.Ref) {
			for _, f := range tls.Files() {
				if here || !path.IsAbs(f) {
					l = append(l, f)
				}
			}
			for _, ref := range append(secrets, tls.Password) {
				if f := ref.File(base); f != "" && here {
					l = append(l, f)
				}
			}
		}
		add(topology.TLS{}, s.Target.Secret)
		for _, m := range s.Listeners {
			add(m.SSL)
		}
		for _, k := range s.Links {
			add(k.SSL, k.Password, k.PasswordHash)
		}
		for _, u := range s.Access.Users {
			add(topology.TLS{}, u.Password, u.PasswordHash)
		}
		for _, g := range s.Grants {
			add(topology.TLS{}, g.Password, g.PasswordHash)
		}
	}
	slices.Sort(l)
	return slices.Compact(l)
}

// verdicts gives one for each wake-up after which the source is another one.
func (c Command) verdicts(ctx context.Context, o *vetOptions, args []string, w *watched, wake <-chan struct{}) error {
	how, revision, digest := o.loading(), "", ""
	var last error
	for {
		select {
		case <-ctx.Done():
			return last
		case <-wake:
		}
		began := time.Now()
		l, state, err := c.loadWatched(ctx, o, args, how, w)
		switch {
		case ctx.Err() != nil:
			return last
		case err != nil:
			if errors.Is(err, context.DeadlineExceeded) {
				// What was given up goes on by itself, and takes ever more memory.
				return fmt.Errorf("%w; an evaluation cannot be stopped, so that watching ends here: mend it and start again", err)
			}
			last, revision = err, ""
			fmt.Fprintf(c.Stderr, "clinkc: %v; waiting for a change\n", err)
			continue
		case l.revision == revision && how.previous != nil && state == digest:
			continue // such as a file that was touched
		}
		how.previous, revision, digest = l.Result, l.revision, state
		last = c.verdict(l, o, args)
		var wrong usageError
		if errors.As(last, &wrong) {
			return last // such as a site that is not there
		}
		fmt.Fprintf(c.Stderr, "-- %s, revision %s, %v; waiting for a change\n", time.Now().Format(time.TimeOnly), l.revision, time.Since(began).Round(time.Millisecond))
	}
}
