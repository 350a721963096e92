package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// supportedResult is what `uspbridge supported --json` prints.
type supportedResult struct {
	Objects []supportedObject `json:"objects"`
	Errors  []pathError       `json:"errors,omitempty"`
}

type supportedObject struct {
	Path       string             `json:"path"`
	Table      bool               `json:"table"`
	Access     string             `json:"access"`
	UniqueKeys [][]string         `json:"unique_keys,omitempty"`
	Params     []supportedParam   `json:"params,omitempty"`
	Commands   []supportedCommand `json:"commands,omitempty"`
	Events     []supportedEvent   `json:"events,omitempty"`
}

type supportedParam struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Access string `json:"access"`
}

type supportedCommand struct {
	Name   string   `json:"name"`
	Async  bool     `json:"async"`
	Input  []string `json:"input,omitempty"`
	Output []string `json:"output,omitempty"`
}

type supportedEvent struct {
	Name string   `json:"name"`
	Args []string `json:"args,omitempty"`
}

func (a *app) supportedCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "supported --to ENDPOINT [OBJECT…]", Short: "Show the data model that an agent supports",
		Example: "  uspbridge supported --to os::00259E-1 Device.WiFi.",
		Args:    takes(cobra.ArbitraryArgs, "objects"),
	}
	f := a.addAgentFlags(cmd)
	first := cmd.Flags().Bool("first-level-only", false, "show the objects directly below only")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			args = []string{"Device."}
		}
		msg := &usppb.GetSupportedDM{ObjPaths: args, FirstLevelOnly: *first,
			ReturnCommands: true, ReturnEvents: true, ReturnParams: true, ReturnUniqueKeySets: true}
		return a.withAgent(cmd.Context(), f, func(ctx context.Context, s session) error {
			resp, err := s.GetSupportedDM(ctx, s.agent, msg)
			if err != nil {
				return err
			}
			r := readSupportedResp(resp)
			return a.result(r, r.Errors, func(w io.Writer) {
				if len(r.Objects) > 0 {
					printSupported(w, r.Objects)
				}
			})
		})
	}
	return cmd
}

func readSupportedResp(resp *usppb.GetSupportedDMResp) supportedResult {
	r := supportedResult{Objects: []supportedObject{}}
	for _, req := range resp.GetReqObjResults() {
		if req.GetErrCode() != 0 {
			r.Errors = append(r.Errors, pathError{req.GetReqObjPath(), usp.ErrorCode(req.GetErrCode()), req.GetErrMsg()})
		}
		for _, object := range req.GetSupportedObjs() {
			r.Objects = append(r.Objects, readSupportedObject(object))
		}
	}
	return r
}

func readSupportedObject(object *usppb.GetSupportedDMResp_SupportedObjectResult) supportedObject {
	o := supportedObject{Path: object.GetSupportedObjPath(), Table: object.GetIsMultiInstance(),
		Access: enumName(object.GetAccess().String(), "OBJ_")}
	for _, k := range object.GetUniqueKeySets() {
		o.UniqueKeys = append(o.UniqueKeys, k.GetKeyNames())
	}
	for _, p := range object.GetSupportedParams() {
		o.Params = append(o.Params, supportedParam{p.GetParamName(), enumName(p.GetValueType().String(), "PARAM_"), enumName(p.GetAccess().String(), "PARAM_")})
	}
	for _, c := range object.GetSupportedCommands() {
		o.Commands = append(o.Commands, supportedCommand{c.GetCommandName(),
			c.GetCommandType() == usppb.GetSupportedDMResp_CMD_ASYNC, c.GetInputArgNames(), c.GetOutputArgNames()})
	}
	for _, e := range object.GetSupportedEvents() {
		o.Events = append(o.Events, supportedEvent{e.GetEventName(), e.GetArgNames()})
	}
	return o
}

// enumName writes an enumeration of the protocol for people: PARAM_READ_WRITE
// becomes read-write.
func enumName(name, prefix string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, prefix)), "_", "-")
}

func printSupported(w io.Writer, objects []supportedObject) {
	var rows [][]string
	for _, o := range objects {
		kind := "object"
		if o.Table {
			kind = "table"
		}
		rows = append(rows, []string{o.Path, kind, o.Access})
		for _, p := range o.Params {
			rows = append(rows, []string{o.Path + p.Name, p.Type, p.Access})
		}
		for _, c := range o.Commands {
			kind := "command"
			if c.Async {
				kind = "async command"
			}
			rows = append(rows, []string{o.Path + c.Name, kind, fmt.Sprintf("(%s) → (%s)", strings.Join(c.Input, ", "), strings.Join(c.Output, ", "))})
		}
		for _, e := range o.Events {
			rows = append(rows, []string{o.Path + e.Name, "event", strings.Join(e.Args, ", ")})
		}
	}
	table(w, []string{"PATH", "TYPE", "ACCESS"}, rows)
}
