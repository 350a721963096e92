package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/uspbridge/uspbridge/usp"
)

// version is set by the linker (see Makefile); without it the module's version
// or the commit is told.
var version string

// buildInfo is what `uspbridge version` tells.
type buildInfo struct {
	Version     string   `json:"version"`
	Commit      string   `json:"commit,omitempty"`
	CommitTime  string   `json:"commit_time,omitempty"`
	Modified    bool     `json:"modified,omitempty"` // built from a changed tree
	Go          string   `json:"go"`
	Platform    string   `json:"platform"`
	USPVersions []string `json:"usp_versions"`
}

func readBuildInfo() buildInfo {
	b := buildInfo{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, USPVersions: usp.SupportedVersions}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.CommitTime = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print version and build", Args: takesNothing(),
		RunE: func(*cobra.Command, []string) error {
			b := readBuildInfo()
			return a.print(b, func(w io.Writer) {
				fmt.Fprintf(w, "uspbridge %s (%s, %s)\n", b.Version, b.Go, b.Platform)
				if b.Commit != "" {
					changed := ""
					if b.Modified {
						changed = ", changed since"
					}
					fmt.Fprintf(w, "commit %s of %s%s\n", b.Commit, b.CommitTime, changed)
				}
			})
		},
	}
}
