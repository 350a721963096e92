package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// instancesResult is what `uspbridge instances --json` prints.
type instancesResult struct {
	Instances []createdRow `json:"instances"`
	Errors    []pathError  `json:"errors,omitempty"`
}

func (a *app) instancesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "instances --to ENDPOINT TABLE…", Short: "List the rows of an agent's tables",
		Example: "  uspbridge instances --to os::00259E-1 Device.WiFi.",
		Args:    takes(cobra.MinimumNArgs(1), "at least one table or object"),
	}
	f := a.addAgentFlags(cmd)
	first := cmd.Flags().Bool("first-level-only", false, "do not list rows inside of rows")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		msg := &usppb.GetInstances{ObjPaths: args, FirstLevelOnly: *first}
		return a.withAgent(cmd.Context(), f, func(ctx context.Context, s session) error {
			resp, err := s.GetInstances(ctx, s.agent, msg)
			if err != nil {
				return err
			}
			r := readInstancesResp(resp)
			return a.result(r, r.Errors, func(w io.Writer) { printInstances(w, r.Instances) })
		})
	}
	return cmd
}

func readInstancesResp(resp *usppb.GetInstancesResp) instancesResult {
	r := instancesResult{Instances: []createdRow{}}
	for _, req := range resp.GetReqPathResults() {
		if req.GetErrCode() != 0 {
			r.Errors = append(r.Errors, pathError{req.GetRequestedPath(), usp.ErrorCode(req.GetErrCode()), req.GetErrMsg()})
		}
		for _, row := range req.GetCurrInsts() {
			r.Instances = append(r.Instances, createdRow{row.GetInstantiatedObjPath(), row.GetUniqueKeys()})
		}
	}
	slices.SortFunc(r.Instances, func(x, y createdRow) int { return comparePaths(x.Path, y.Path) })
	return r
}

func printInstances(w io.Writer, rows []createdRow) {
	for _, row := range rows {
		keys := make([]string, 0, len(row.UniqueKeys))
		for _, name := range slices.Sorted(maps.Keys(row.UniqueKeys)) {
			keys = append(keys, name+"="+printable(row.UniqueKeys[name]))
		}
		line := printable(row.Path)
		if len(keys) > 0 {
			line += "  " + strings.Join(keys, " ")
		}
		fmt.Fprintln(w, line)
	}
}
