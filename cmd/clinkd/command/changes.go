package command

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"sync"

	"clink/compiler"
	"clink/diagnostic"
	"clink/httpapi"
	"clink/source/splice"
	"clink/source/writeback"
	"clink/topology"
)

// Bounds of what is kept of revisions, and shown of one.
const (
	maxChanges      = 50
	maxChangedBytes = 512 << 10 // of the files that a revision changed, before and after it
	maxDiff         = 256 << 10
	maxFindings     = 1000
)

// Changes are what the latest revisions changed since the process started.
type changes struct {
	mu       sync.Mutex
	list     []*change // the newest last
	sources  map[string][]byte
	topology *topology.Topology
}

// A change is one of them. Its difference is made when somebody first asks: a
// revision must not wait for it to take effect.
type change struct {
	revision, before string
	findings         diagnostic.List

	mu    sync.Mutex // guards the fields below
	texts []changedFile
	mask  func([]byte) []byte
	diff  string
	cut   bool
}

type changedFile struct {
	name          string
	before, after []byte
}

// note takes down a revision, if it is not the one before.
func (c *changes) note(revision string, res *compiler.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := &change{revision: revision, findings: res.Findings}
	if n := len(c.list); n > 0 {
		if one.before = c.list[n-1].revision; one.before == revision {
			return
		}
		one.mask = writeback.Mask(c.topology, res.Topology)
		one.keep(c.sources, res.Sources)
	}
	if len(one.findings) > maxFindings {
		one.findings, one.cut = one.findings[:maxFindings:maxFindings], true
	}
	c.list = append(c.list, one)
	c.list = slices.Clone(c.list[max(0, len(c.list)-maxChanges):])
	c.sources, c.topology = res.Sources, res.Topology
}

// keep keeps the files that differ, as far as there is room.
func (c *change) keep(before, after map[string][]byte) {
	names := maps.Clone(before)
	maps.Copy(names, after)
	room := maxChangedBytes
	for _, name := range slices.Sorted(maps.Keys(names)) {
		f := changedFile{name, before[name], after[name]}
		if bytes.Equal(f.before, f.after) {
			continue
		}
		if size := len(f.before) + len(f.after); size <= room {
			room -= size
			c.texts = append(c.texts, f)
		} else {
			c.cut = true
		}
	}
}

// detail returns what is known of a revision.
func (c *changes) detail(revision string) (httpapi.RevisionDetail, bool) {
	c.mu.Lock()
	list := c.list
	c.mu.Unlock()
	for _, one := range slices.Backward(list) {
		if one.revision == revision {
			return one.detail(), true
		}
	}
	return httpapi.RevisionDetail{}, false
}

func (c *change) detail() httpapi.RevisionDetail {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for _, f := range c.texts {
		b.WriteString(splice.DiffMasked(f.name, f.before, f.after, c.mask))
	}
	if c.texts != nil {
		c.diff, c.texts, c.mask = b.String(), nil, nil
	}
	if len(c.diff) > maxDiff {
		end := strings.LastIndexByte(c.diff[:maxDiff], '\n') + 1
		c.diff, c.cut = c.diff[:end], true
	}
	return httpapi.RevisionDetail{Before: c.before, Diff: c.diff, Cut: c.cut, Findings: c.findings}
}

// Bounds of what is shown of a link's source.
const (
	maxBlocks     = 100
	maxBlockBytes = 64 << 10
)

// blocks returns the lines of the source that declare a site's link.
func (l *loader) blocks(site, peer string) []httpapi.Block {
	l.mu.Lock()
	res := l.result
	l.mu.Unlock()
	if res == nil || res.Topology.Sites[site] == nil {
		return nil
	}
	link, ok := res.Topology.Sites[site].Link(peer)
	if !ok {
		return nil
	}
	places, err := splice.Blocks(res.Topology.Sites[site].Files, res.Sources, site, peer)
	if err != nil || len(places) == 0 {
		// What makes it is a pattern or a comprehension, or cannot be read.
		places = []diagnostic.Pos{{File: link.Pos.File, Line: link.Pos.Line, EndLine: link.Pos.Line}}
	}
	mask := writeback.Mask(res.Topology)
	var list []httpapi.Block
	for _, p := range places[:min(len(places), maxBlocks)] {
		lines := bytes.SplitAfter(mask(res.Sources[p.File]), []byte("\n"))
		if p.Line < 1 || p.Line > p.EndLine || p.EndLine > len(lines) {
			continue
		}
		text := bytes.Join(lines[p.Line-1:p.EndLine], nil)
		if len(text) > maxBlockBytes {
			text = text[:bytes.LastIndexByte(text[:maxBlockBytes], '\n')+1]
		}
		list = append(list, httpapi.Block{File: p.File, Line: p.Line, Text: strings.ToValidUTF8(string(text), "\uFFFD")})
	}
	return list
}
