package splice

import (
	"fmt"

	"clink/compiler"
	"clink/compiler/cuetext"
	"clink/diagnostic"
)

// Blocks returns where the texts of some files write out a site's half of a
// link: each of its fields as a whole, from the label to the end of the value,
// in order. A half that comes out of a pattern or a comprehension has none.
func Blocks(names []string, texts map[string][]byte, site, peer string) ([]diagnostic.Pos, error) {
	var files []*file
	for _, name := range names {
		text, ok := texts[name]
		if !ok {
			continue
		}
		tree, err := compiler.Parse(name, text)
		if err != nil {
			return nil, fmt.Errorf("find the link of %s to %s: %w", site, peer, err)
		}
		files = append(files, &file{name: name, text: text, tree: tree})
	}
	var l []diagnostic.Pos
	for _, c := range find(files, "sites", site, "cluster", "links", peer).chains {
		l = append(l, cuetext.NodePos(c.last()))
	}
	return l, nil
}
