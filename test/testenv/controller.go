package testenv

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// Controller is a USP controller. Methods without an error to return end the
// test when the agent refuses.
type Controller struct {
	*client.Client
	t    testing.TB
	last int // number of the last subscription

	taken map[string][]Notification // by subscription ID: arrived, not asked for yet
}

// Controller connects DefaultController to the WebSocket server.
func (e *Env) Controller() *Controller {
	e.t.Helper()
	return e.ControllerAs(DefaultController)
}

// ControllerAs connects a controller to the WebSocket server.
func (e *Env) ControllerAs(id usp.EndpointID) *Controller {
	e.t.Helper()
	ctx, cancel := limited(e.t)
	defer cancel()
	c, err := client.Dial(ctx, client.Config{URL: e.WebSocketURL(), Controller: id})
	if err != nil {
		e.t.Fatal(err)
	}
	return newController(e.t, c)
}

// ControllerOver is a controller over a link of any kind.
func (e *Env) ControllerOver(id usp.EndpointID, link client.Link) *Controller {
	return newController(e.t, client.New(id, link))
}

// ControllerOf is a controller that has been made elsewhere.
func (e *Env) ControllerOf(c *client.Client) *Controller { return newController(e.t, c) }

func newController(t testing.TB, c *client.Client) *Controller {
	// It may have been closed before, or its bridge killed.
	t.Cleanup(func() { _ = c.Close() })
	return &Controller{Client: c, t: t, taken: map[string][]Notification{}}
}

func limited(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), Patience)
}

// TryOperate runs a command whose answer may never come.
func (c *Controller) TryOperate(agent usp.EndpointID, command, key string) error {
	ctx, cancel := limited(c.t)
	defer cancel()
	_, err := c.Client.Operate(ctx, agent, &usppb.Operate{Command: command, CommandKey: key, SendResp: true})
	return err
}

// Get reads parameters and returns their values by full path.
func (c *Controller) Get(agent usp.EndpointID, paths ...string) map[string]string {
	c.t.Helper()
	values, err := c.TryGet(agent, paths...)
	if err != nil {
		c.t.Fatalf("Get %v: %v", paths, err)
	}
	return values
}

// TryGet is Get that may fail.
func (c *Controller) TryGet(agent usp.EndpointID, paths ...string) (map[string]string, error) {
	ctx, cancel := limited(c.t)
	defer cancel()
	resp, err := c.Client.Get(ctx, agent, paths, 0)
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, r := range resp.GetReqPathResults() {
		if r.GetErrCode() != 0 {
			return nil, usp.Errorf(usp.ErrorCode(r.GetErrCode()), r.GetRequestedPath(), "%s", r.GetErrMsg())
		}
		for _, o := range r.GetResolvedPathResults() {
			for name, v := range o.GetResultParams() {
				values[o.GetResolvedPath()+name] = v
			}
		}
	}
	return values, nil
}

// Value reads one parameter.
func (c *Controller) Value(agent usp.EndpointID, path string) string {
	c.t.Helper()
	values := c.Get(agent, path)
	v, ok := values[path]
	if !ok || len(values) != 1 {
		c.t.Fatalf("Get %s returned %v", path, values)
	}
	return v
}

// Set writes one parameter.
func (c *Controller) Set(agent usp.EndpointID, path, value string) {
	c.t.Helper()
	if err := c.TrySet(agent, path, value); err != nil {
		c.t.Fatalf("Set %s=%q: %v", path, value, err)
	}
}

// TrySet is Set that may fail.
func (c *Controller) TrySet(agent usp.EndpointID, path, value string) error {
	ctx, cancel := limited(c.t)
	defer cancel()
	_, err := c.Client.Set(ctx, agent, &usppb.Set{UpdateObjs: []*usppb.Set_UpdateObject{Update(path, value)}})
	return err
}

// Update is one parameter in a Set, which is required.
func Update(path, value string) *usppb.Set_UpdateObject {
	at := strings.LastIndexByte(path, '.') + 1
	return &usppb.Set_UpdateObject{ObjPath: path[:at], ParamSettings: []*usppb.Set_UpdateParamSetting{
		{Param: path[at:], Value: value, Required: true}}}
}

// Add creates a row and returns its path.
func (c *Controller) Add(agent usp.EndpointID, table string, params map[string]string) string {
	c.t.Helper()
	row, err := c.TryAdd(agent, table, params)
	if err != nil {
		c.t.Fatalf("Add %s %v: %v", table, params, err)
	}
	return row
}

// TryAdd is Add that may fail.
func (c *Controller) TryAdd(agent usp.EndpointID, table string, params map[string]string) (string, error) {
	ctx, cancel := limited(c.t)
	defer cancel()
	o := &usppb.Add_CreateObject{ObjPath: table}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		o.ParamSettings = append(o.ParamSettings, &usppb.Add_CreateParamSetting{Param: name, Value: params[name], Required: true})
	}
	resp, err := c.Client.Add(ctx, agent, &usppb.Add{CreateObjs: []*usppb.Add_CreateObject{o}})
	if err != nil {
		return "", err
	}
	row := resp.GetCreatedObjResults()[0].GetOperStatus().GetOperSuccess().GetInstantiatedPath()
	if row == "" {
		return "", fmt.Errorf("no success and no error: %v", resp)
	}
	return row, nil
}

// Delete removes a row.
func (c *Controller) Delete(agent usp.EndpointID, row string) {
	c.t.Helper()
	ctx, cancel := limited(c.t)
	defer cancel()
	resp, err := c.Client.Delete(ctx, agent, &usppb.Delete{ObjPaths: []string{row}})
	if err != nil {
		c.t.Fatalf("Delete %s: %v", row, err)
	}
	if got := resp.GetDeletedObjResults()[0].GetOperStatus().GetOperSuccess().GetAffectedPaths(); !slices.Equal(got, []string{row}) {
		c.t.Fatalf("Delete %s: %v", row, resp)
	}
}

// Instances returns the rows of a table, in order.
func (c *Controller) Instances(agent usp.EndpointID, table string) []string {
	c.t.Helper()
	ctx, cancel := limited(c.t)
	defer cancel()
	resp, err := c.Client.GetInstances(ctx, agent, &usppb.GetInstances{ObjPaths: []string{table}, FirstLevelOnly: true})
	if err != nil {
		c.t.Fatalf("GetInstances %s: %v", table, err)
	}
	var rows []string
	for _, r := range resp.GetReqPathResults() {
		if r.GetErrCode() != 0 {
			c.t.Fatalf("GetInstances %s: %d %s", table, r.GetErrCode(), r.GetErrMsg())
		}
		for _, i := range r.GetCurrInsts() {
			rows = append(rows, i.GetInstantiatedObjPath())
		}
	}
	return rows
}

// Operate runs a command without arguments and returns its result.
func (c *Controller) Operate(agent usp.EndpointID, command, key string) *usppb.OperateResp_OperationResult {
	c.t.Helper()
	return c.OperateWith(agent, command, key, nil)
}

// OperateWith is Operate with arguments.
func (c *Controller) OperateWith(agent usp.EndpointID, command, key string, args map[string]string) *usppb.OperateResp_OperationResult {
	c.t.Helper()
	ctx, cancel := limited(c.t)
	defer cancel()
	resp, err := c.Client.Operate(ctx, agent, &usppb.Operate{Command: command, CommandKey: key, SendResp: true, InputArgs: args})
	if err != nil {
		c.t.Fatalf("Operate %s: %v", command, err)
	}
	results := resp.GetOperationResults()
	if len(results) != 1 || results[0].GetCmdFailure() != nil {
		c.t.Fatalf("Operate %s: %v", command, resp)
	}
	return results[0]
}
