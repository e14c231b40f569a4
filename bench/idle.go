package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// A clientCase is what idle clients cost one node.
type clientCase struct {
	Name    string      `json:"broker"`
	Clients int         `json:"clients"`
	Runs    []clientRun `json:"runs"`
}

// A clientRun is one measurement, with a fresh process.
type clientRun struct {
	Connected time.Duration `json:"connected"` // until all are, in nanoseconds
	Each      memory        `json:"each"`      // more, for each client
}

// measureClients measures single nodes with idle clients in turn.
func (s *stage) measureClients(ctx context.Context, o linkOptions, out *outcome, w io.Writer) error {
	fmt.Fprintf(w, "\n%s idle clients of one node, with one filter each\n\n", grouped(o.clients))
	fmt.Fprintf(w, "%-18s %5s %10s %10s %10s %10s\n", "broker", "round", "connected", "RSS", "heap", "stacks")
	makers := s.nodes(o.alone, false)
	out.Clients = make([]clientCase, len(makers))
	of := nodeOptions{common: o.common, clients: o.clients}
	for round := range o.repeats {
		for i, m := range makers {
			size, err := measureSize(ctx, of, m, filepath.Join(s.dir, fmt.Sprintf("clients-%d", round)))
			if err != nil {
				return err
			}
			c := size.client
			fmt.Fprintf(w, "%-18s %5d %10s %8.0f B %8.0f B %8.0f B\n", m.name, round+1, seconds(size.connect), c.RSS, c.Heap, c.Stacks)
			out.Clients[i].Name, out.Clients[i].Clients = m.name, o.clients
			out.Clients[i].Runs = append(out.Clients[i].Runs, clientRun{size.connect, c})
		}
	}
	return nil
}
